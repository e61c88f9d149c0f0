// Where training begins its way back: the loss of the output, and its gradient.

#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/layers.h"

namespace piste {
namespace {

/// The loss of each sample and its gradient; sums are kept per group of samples.
///
/// The rows of classes are the output's pixels where they lie. A map that was flattened is one row
/// that does not lie together: it is gathered first, and its gradient scattered.
template <class T>
class LossOp final : public Op<T> {
 public:
  LossOp(Plan<T>& plan, const Value<T>& y, int dy)
      : plan_(plan), y_(y), dy_(dy), gathers_(y.shape.flat && y.shape.pixels() > 1) {
    pixels_ = gathers_ ? 1 : y.shape.pixels();
    classes_ = gathers_ ? y.shape.features() : y.shape.channels;
    width_ = gathers_ ? classes_ : y.width;
    this->use_forward(y.tensor);
    if (dy >= 0) this->use_forward(dy);
  }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (chunk.first_of_group) plan_.loss_sums[chunk.group] = plan_.correct_sums[chunk.group] = 0;
    const Scratch scratch(*this, *run.loss, static_cast<T*>(memory.worker_scratch(chunk)));
    const T* y = memory.at(y_.tensor, chunk);
    T* dy = dy_ < 0 ? nullptr : memory.at(dy_, chunk);
    double sum = 0;
    for (Index i = chunk.begin; i < chunk.end; ++i, y += y_.sample_values()) {
      const Index sample = run.order ? run.order[i] : i;
      const T weight = run.y.sample_weight ? run.y.sample_weight.data[sample] : T(1);
      if (gathers_) unpack_sample(y, y_, scratch.y);
      const T* rows = gathers_ ? scratch.y : y;
      T* gradients = gathers_ && dy ? scratch.dy : dy;
      sum += weight * (run.y.labels ? labels(run, sample, rows, gradients, weight, chunk.group)
                                    : dense(run, scratch, sample, rows, gradients, weight));
      if (!dy) continue;
      if (gathers_) pack_sample(scratch.dy, y_, dy);
      dy += y_.sample_values();
    }
    plan_.loss_sums[chunk.group] += sum;
  }
  void backward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  Index scratch_bytes(Index) const override {
    return Scratch::arrays * pixels_ * width_ * static_cast<Index>(sizeof(T));
  }

 private:
  /// Arrays of one sample, as the rows lie: dense targets, the loss's own, and what is gathered.
  struct Scratch {
    static constexpr Index arrays = 5;
    T *target, *y, *dy, *weight = nullptr, *extra = nullptr;

    Scratch(const LossOp& op, const Loss<T>& loss, T* memory) {
      const Index values = op.pixels_ * op.width_;
      target = memory;
      y = memory + values;
      dy = memory + 2 * values;
      if (!loss.weight.empty()) op.pack(loss.weight.data(), weight = memory + 3 * values);
      if (!loss.extra.empty()) op.pack(loss.extra.data(), extra = memory + 4 * values);
    }
  };

  void pack(const T* nchw, T* rows) const {
    if (gathers_)
      std::copy_n(nchw, classes_, rows);
    else
      pack_sample(nchw, y_, rows);
  }

  static const T* data_or_null(const std::vector<T>& values) {
    return values.empty() ? nullptr : values.data();
  }

  double labels(const Run<T>& run, Index sample, const T* y, T* dy, T weight, Index group) {
    const Loss<T>& loss = *run.loss;
    double sum = 0;
    for (Index p = 0; p < pixels_; ++p, y += width_) {
      const Index label = run.y.labels.data[sample * pixels_ + p];
      T* row = dy ? dy + p * width_ : nullptr;
      if (label == loss.ignore_index) {
        if (row) std::fill_n(row, classes_, T(0));
        continue;
      }
      sum += label_row(loss, y, label, row, run.loss_scale * weight);
      plan_.correct_sums[group] += is_first_largest(y, label);
    }
    return sum;
  }

  /// Without branches, which would be foreseen as little as the labels.
  bool is_first_largest(const T* y, Index at) const {
    bool largest = true;
    for (Index c = 0; c < at; ++c) largest &= y[c] < y[at];
    for (Index c = at + 1; c < classes_; ++c) largest &= y[c] <= y[at];
    return largest;
  }

  double label_row(const Loss<T>& loss, const T* y, Index label, T* dy, T scale) const {
    const auto& kernels = *kernel_table<T>().loss;
    const T* class_weight = data_or_null(loss.class_weight);
    if (loss.kind == LossKind::cross_entropy)
      return kernels.cross_entropy(y, classes_, label, class_weight, loss.label_smoothing, dy,
                                   scale);
    const T w = class_weight ? class_weight[label] : T(1);
    if (loss.kind == LossKind::multi_margin)
      return w * kernels.multi_margin(y, classes_, label, static_cast<int>(loss.b), loss.a, dy,
                                      scale * w);
    if (dy) {
      std::fill_n(dy, classes_, T(0));
      dy[label] = -scale * w;
    }
    return -double(w) * y[label];
  }

  double dense(const Run<T>& run, const Scratch& scratch, Index sample, const T* y, T* dy,
               T weight) const {
    const Loss<T>& loss = *run.loss;
    const auto& kernels = *kernel_table<T>().loss;
    pack(run.y.dense.data + sample * y_.shape.features(), scratch.target);
    const T scale = run.loss_scale * weight;
    double sum = 0, row_sum = 0;
    for (Index p = 0; p < pixels_; ++p) {
      const Index at = p * width_;
      T* row = dy ? dy + at : nullptr;
      if (loss.kind == LossKind::cross_entropy) {
        sum += kernels.cross_entropy_probabilities(y + at, classes_, scratch.target + at,
                                                   data_or_null(loss.class_weight),
                                                   loss.label_smoothing, row, nullptr, scale);
        continue;
      }
      PointwiseLossCall<T> call{};
      call.kind = loss.pointwise;
      call.a = loss.a;
      call.b = loss.b;
      call.x = y + at;
      call.t = scratch.target + at;
      call.extra = scratch.extra ? scratch.extra + at : nullptr;
      call.weight = scratch.weight ? scratch.weight + at : nullptr;
      call.scale = scale;
      call.sum = &row_sum;
      call.dx = row;
      call.n = classes_;
      kernels.pointwise(call);
      sum += row_sum;
    }
    return sum;
  }

  Plan<T>& plan_;
  Value<T> y_;
  int dy_;
  bool gathers_;
  Index pixels_, classes_, width_;  // of the rows
};

}  // namespace

template <class T>
OpPtr<T> make_loss(Plan<T>& plan, const Value<T>& y, int dy) {
  return std::make_unique<LossOp<T>>(plan, y, dy);
}

template OpPtr<float> make_loss(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_loss(Plan<double>&, const Value<double>&, int);

}  // namespace piste
