// Layers that work on one sample at a time in the order that the user sees.

#include <algorithm>
#include <cstring>

#include "dispatch/dispatch.h"
#include "engine/layers.h"
#include "piste/activation.h"
#include "piste/norm.h"

namespace piste {
namespace {

/// One sample in NCHW order: where it lies, if that is how it lies, else unpacked to `room`.
template <class T>
const T* in_order(const T* rows, const Value<T>& value, T* room) {
  if (value.shape.pixels() == 1) return rows;
  unpack_sample(rows, value, room);
  return room;
}

/// An operation of ops/ on each sample. Its loops over tasks run on the worker that calls them.
template <class T>
class SampleOp final : public Op<T> {
 public:
  SampleOp(Plan<T>& plan, const Node& node, const Site<T>& site)
      : node_(node), x_(site.x), y_(site.y), weight_(site.weight), bias_(site.bias) {
    this->use_forward(x_.tensor);
    this->use_forward(y_.tensor);
    groups_ = plan.groups();
    if (node.running_mean) statistics_ = plan.fixed_tensor(2 * node.channels * groups_);
    const MapShape& s = x_.shape;
    planes_ = {1, s.channels, s.pixels()};
    if (node.kind == NodeKind::layer_norm) {
      Index n = 1;
      for (Index size : node.sizes) n *= size;
      planes_ = {s.features() / n, n};
    } else if (node.kind == NodeKind::prelu && weight_.value.size() == 1) {
      planes_ = {1, 1, s.features()};
    } else if (node.kind == NodeKind::softmax || node.kind == NodeKind::log_softmax) {
      const Shape sample = s.logical();
      const int along = sample_axis(node, node.first_axis, sample.rank());
      planes_ = {1, sample[along], 1};
      for (int axis = 0; axis < along; ++axis) planes_[0] *= sample[axis];
      for (int axis = along + 1; axis < sample.rank(); ++axis) planes_[2] *= sample[axis];
    }
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    for (int tensor : {x_.tensor, dy_, dx_}) this->use_backward(tensor);
    if (parameters()) gradients_ = plan.fixed_tensor(parameters() * plan.groups());
  }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    T* room = static_cast<T*>(memory.worker_scratch(chunk));
    T *result = room + features(), *fresh = result + features();
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    const bool gathers = statistics_ >= 0 && run.training;
    check(!gathers || planes_[2] > 1, node_.name.c_str(),
          "instance norm expects more than 1 value per channel in training, got an input of shape ",
          x_.shape.logical());
    for (Index i = 0; i < chunk.count(); ++i) {
      apply(run, in_order(x + i * x_.sample_values(), x_, room), result, fresh);
      pack_sample(result, y_, y + i * y_.sample_values());
      if (gathers) add_up(memory, chunk, i, statistics_, fresh, 2 * node_.channels);
    }
  }

  void backward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    T* room = static_cast<T*>(memory.worker_scratch(chunk));
    T *dx = room + 2 * features(), *fresh = room + 3 * features();
    for (Index i = 0; i < chunk.count(); ++i) {
      const T* x = in_order(memory.at(x_.tensor, chunk) + i * x_.sample_values(), x_, room);
      const T* dy = in_order(memory.at(dy_, chunk) + i * y_.sample_values(), y_, room + features());
      differentiate(run, x, dy, dx, fresh);
      if (dx_ >= 0) pack_sample(dx, x_, memory.at(dx_, chunk) + i * x_.sample_values());
      if (parameters()) add_up(memory, chunk, i, gradients_, fresh, parameters());
    }
  }

  Index finish_tasks(int phase) const override { return phase > 0 || gradients_ < 0 ? 0 : 1; }
  void finish(const Memory<T>& memory, Index groups, int, Index, void*) override {
    const GroupSums<T> parts(memory.fixed(gradients_), parameters(), groups);
    const auto& gemm = *kernel_table<T>().gemm;
    if (weight_.value) gemm.sum(parts.data, groups, 0, weight_.gradient, weights());
    if (bias_.value) gemm.sum(parts.data, groups, weights(), bias_.gradient, biases());
  }

  void commit(const Memory<T>& memory) override {
    if (statistics_ < 0) return;
    const Index channels = node_.channels;
    const double pixels = double(planes_[2]), samples = double(memory.batch);
    T* const running[] = {static_cast<T*>(node_.running_mean), static_cast<T*>(node_.running_var)};
    const double unbiased[] = {1, pixels / (pixels - 1)};
    for (int kind = 0; kind < 2; ++kind)
      for (Index c = 0; c < channels; ++c) {
        double sum = 0;
        for (Index g = 0; g < groups_; ++g)
          sum += memory.fixed(statistics_)[(2 * g + kind) * channels + c];
        T& value = running[kind][c];
        value += static_cast<T>(node_.a * (sum / samples * unbiased[kind] - value));
      }
  }

  Index scratch_bytes(Index) const override {
    const Index statistics = statistics_ < 0 ? 0 : 2 * node_.channels;
    return (3 * features() + std::max(parameters(), statistics)) * static_cast<Index>(sizeof(T));
  }

 private:
  Index features() const { return x_.shape.features(); }
  Index weights() const { return weight_.value ? weight_.value.size() : 0; }
  Index biases() const { return bias_.value ? bias_.value.size() : 0; }
  Index parameters() const { return weights() + biases(); }
  bool log() const { return node_.kind == NodeKind::log_softmax; }
  View<const T> as_vector(const Trainable<T>& t) const {
    return {t.value.data, t.value ? Shape{t.value.size()} : Shape{}};
  }

  /// Whether running statistics take the place of the sample's own.
  bool by_running(const Run<T>& run) const { return statistics_ >= 0 && !run.training; }
  BatchNormOptions evaluation() const { return {false, 0, node_.b}; }
  View<T> running(void* values) const { return {static_cast<T*>(values), {node_.channels}}; }

  /// Adds `fresh`, of sample i of the chunk, to its group's sums.
  static void add_up(const Memory<T>& memory, const Chunk& chunk, Index i, int sums, const T* fresh,
                     Index n) {
    T* sum = memory.fixed(sums) + chunk.group * n;
    if (chunk.first_of_group && i == 0)
      std::copy_n(fresh, n, sum);
    else
      kernel_table<T>().pointwise->add(sum, fresh, sum, n);
  }

  /// And the sample's statistics, where somebody gathers them.
  void apply(const Run<T>& run, const T* from, T* to, T* statistics) const {
    const View<const T> x{from, planes_};
    const View<T> y{to, planes_};
    const View<const T> weight = as_vector(weight_), bias = as_vector(bias_);
    switch (node_.kind) {
      case NodeKind::layer_norm:
        return layer_norm<T>(x, weight, bias, node_.b, y);
      case NodeKind::group_norm: {
        const View<T> mean = running(node_.running_mean), var = running(node_.running_var);
        if (by_running(run)) return batch_norm<T>(x, mean, var, weight, bias, evaluation(), y);
        View<T> own_mean, own_var;
        if (mean) own_mean = {statistics, {1, node_.channels}};
        if (mean) own_var = {statistics + node_.channels, {1, node_.channels}};
        return group_norm<T>(x, node_.groups, weight, bias, node_.b, y, own_mean, own_var);
      }
      case NodeKind::response_norm:
        return local_response_norm<T>(x, node_.response, y);
      case NodeKind::prelu:
        return prelu<T>(x, weight, y);
      default:
        return softmax<T>(x, y, log());
    }
  }

  /// dx and the gradients by weight and then bias.
  void differentiate(const Run<T>& run, const T* from, const T* gradient, T* to,
                     T* by_parameters) const {
    const View<const T> x{from, planes_}, dy{gradient, planes_};
    const View<T> dx{to, planes_};
    const View<const T> weight = as_vector(weight_);
    View<T> dweight, dbias;
    if (weight_.value) dweight = {by_parameters, {weights()}};
    if (bias_.value) dbias = {by_parameters + weights(), {biases()}};
    switch (node_.kind) {
      case NodeKind::layer_norm:
        return layer_norm_backward<T>(dy, x, weight, node_.b, dx, dweight, dbias);
      case NodeKind::group_norm:
        if (by_running(run))
          return batch_norm_backward<T>(dy, x, running(node_.running_mean),
                                        running(node_.running_var), weight, evaluation(), dx,
                                        dweight, dbias);
        return group_norm_backward<T>(dy, x, node_.groups, weight, node_.b, dx, dweight, dbias);
      case NodeKind::response_norm:
        return local_response_norm_backward<T>(dy, x, node_.response, dx);
      case NodeKind::prelu:
        return prelu_backward<T>(dy, x, weight, dx, dweight);
      default:
        return softmax_backward<T>(dy, x, dx, log());
    }
  }

  Node node_;
  Value<T> x_, y_;
  Trainable<T> weight_, bias_;
  Shape planes_;  // as the operation takes a sample
  int dy_ = -1, dx_ = -1, gradients_ = -1;
  Index groups_ = 0;
  int statistics_ = -1;  // sums of samples' means and variances, where running ones are kept
};

template <class T>
class ReshapeOp final : public Op<T> {
 public:
  ReshapeOp(const Value<T>& x, const Value<T>& y) : x_(x), y_(y) {
    this->use_forward(x.tensor);
    this->use_forward(y.tensor);
  }
  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    this->use_backward(dy_);
    this->use_backward(dx_);
  }
  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    move(memory, chunk, x_, x_.tensor, y_, y_.tensor);
  }
  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ >= 0) move(memory, chunk, y_, dy_, x_, dx_);
  }
  Index scratch_bytes(Index) const override {
    return x_.shape.features() * static_cast<Index>(sizeof(T));
  }

 private:
  static void move(const Memory<T>& memory, const Chunk& chunk, const Value<T>& from, int source,
                   const Value<T>& to, int target) {
    T* room = static_cast<T*>(memory.worker_scratch(chunk));
    for (Index i = 0; i < chunk.count(); ++i)
      pack_sample(in_order(memory.at(source, chunk) + i * from.sample_values(), from, room), to,
                  memory.at(target, chunk) + i * to.sample_values());
  }

  Value<T> x_, y_;
  int dy_ = -1, dx_ = -1;
};

template <class T>
class ConcatOp final : public Op<T> {
 public:
  ConcatOp(const std::vector<Value<T>>& x, const Value<T>& y) : x_(x), y_(y) {
    for (const Value<T>& value : x) this->use_forward(value.tensor);
    this->use_forward(y.tensor);
  }
  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx;
    this->use_backward(dy);
    for (int tensor : dx) this->use_backward(tensor);
  }
  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index rows = chunk.count() * y_.shape.pixels(), channels = y_.shape.channels;
    T* y = memory.at(y_.tensor, chunk);
    Index first = 0;
    for (const Value<T>& x : x_) {
      copy(memory.at(x.tensor, chunk), x.width, y + first, y_.width, rows, x.shape.channels, 0);
      first += x.shape.channels;
    }
    for (Index row = 0; row < rows; ++row)
      std::fill(y + row * y_.width + channels, y + (row + 1) * y_.width, T(0));
  }
  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index rows = chunk.count() * y_.shape.pixels();
    const T* dy = memory.at(dy_, chunk);
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const Index channels = x_[i].shape.channels;
      if (dx_[i] >= 0)
        copy(dy, y_.width, memory.at(dx_[i], chunk), x_[i].width, rows, channels,
             x_[i].width - channels);
      dy += channels;
    }
  }

 private:
  /// `zeros` of them behind the channels of each row.
  static void copy(const T* from, Index from_stride, T* to, Index to_stride, Index rows,
                   Index channels, Index zeros) {
    for (Index row = 0; row < rows; ++row, from += from_stride, to += to_stride) {
      std::memcpy(to, from, channels * sizeof(T));
      std::fill_n(to + channels, zeros, T(0));
    }
  }

  std::vector<Value<T>> x_;
  Value<T> y_;
  std::vector<int> dx_;
  int dy_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_sample_op(Plan<T>& plan, const Node& node, const Site<T>& site) {
  return std::make_unique<SampleOp<T>>(plan, node, site);
}
template <class T>
OpPtr<T> make_reshape(Plan<T>&, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<ReshapeOp<T>>(x, y);
}
template <class T>
OpPtr<T> make_concat(Plan<T>&, const std::vector<Value<T>>& x, const Value<T>& y) {
  return std::make_unique<ConcatOp<T>>(x, y);
}

template OpPtr<float> make_sample_op(Plan<float>&, const Node&, const Site<float>&);
template OpPtr<double> make_sample_op(Plan<double>&, const Node&, const Site<double>&);
template OpPtr<float> make_reshape(Plan<float>&, const Value<float>&, const Value<float>&);
template OpPtr<double> make_reshape(Plan<double>&, const Value<double>&, const Value<double>&);
template OpPtr<float> make_concat(Plan<float>&, const std::vector<Value<float>>&,
                                  const Value<float>&);
template OpPtr<double> make_concat(Plan<double>&, const std::vector<Value<double>>&,
                                   const Value<double>&);

}  // namespace piste
