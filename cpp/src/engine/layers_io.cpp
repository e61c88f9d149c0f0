// Where a plan meets the user's arrays: NCHW outside, NHWC inside.

#include <algorithm>
#include <cstring>

#include "dispatch/dispatch.h"
#include "engine/layers.h"

namespace piste {
namespace {

/// One sample from NCHW to the plan's layout.
template <class T>
void pack(const T* nchw, const Value<T>& value, T* rows) {
  const MapShape& s = value.shape;
  if (value.width == 1 || (s.pixels() == 1 && value.width == s.channels))
    std::memcpy(rows, nchw, s.features() * sizeof(T));
  else
    kernel_table<T>().layout->transpose(nchw, s.pixels(), rows, value.width, s.channels, s.pixels(),
                                        value.width);
}

template <class T>
void unpack(const T* rows, const Value<T>& value, T* nchw) {
  const MapShape& s = value.shape;
  if (s.pixels() == 1)
    std::memcpy(nchw, rows, s.channels * sizeof(T));
  else
    kernel_table<T>().layout->transpose(rows, value.width, nchw, s.pixels(), s.pixels(), s.channels,
                                        s.pixels());
}

/// Gathers the batch's samples out of the whole set, wherever shuffling put them.
template <class T>
class InputOp final : public Op<T> {
 public:
  explicit InputOp(const Value<T>& y) : y_(y) { this->use_forward(y.tensor); }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    const Index features = y_.shape.features();
    T* y = memory.at(y_.tensor, chunk);
    T* numbers = static_cast<T*>(memory.worker_scratch(chunk));
    for (Index i = chunk.begin; i < chunk.end; ++i, y += y_.sample_values()) {
      const Index sample = run.order ? run.order[i] : i;
      const T* from = run.x.values + sample * features;
      if (run.x.bytes) {
        kernel_table<T>().layout->from_bytes(run.x.bytes + sample * features, numbers, features,
                                             run.input_scale, run.input_shift);
        from = numbers;
      }
      pack(from, y_, y);
    }
  }
  void backward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  Index scratch_bytes() const override {
    return y_.shape.features() * static_cast<Index>(sizeof(T));
  }

 private:
  Value<T> y_;
};

template <class T>
class OutputOp final : public Op<T> {
 public:
  explicit OutputOp(const Value<T>& y) : y_(y) { this->use_forward(y.tensor); }
  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (!run.out) return;
    const T* y = memory.at(y_.tensor, chunk);
    for (Index i = chunk.begin; i < chunk.end; ++i, y += y_.sample_values())
      unpack(y, y_, run.out + i * y_.shape.features());
  }
  void backward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}

 private:
  Value<T> y_;
};

template <class T>
class GradOutputOp final : public Op<T> {
 public:
  GradOutputOp(const Value<T>& y, int dy) : y_(y), dy_(dy) { this->use_backward(dy); }
  void forward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  void backward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    T* dy = memory.at(dy_, chunk);
    for (Index i = chunk.begin; i < chunk.end; ++i, dy += y_.sample_values())
      pack(run.grad_output + i * y_.shape.features(), y_, dy);
  }

 private:
  Value<T> y_;
  int dy_;
};

template <class T>
class GradInputOp final : public Op<T> {
 public:
  GradInputOp(const Value<T>& x, int dx) : x_(x), dx_(dx) { this->use_backward(dx); }
  void forward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  void backward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (!run.grad_input) return;
    const T* dx = memory.at(dx_, chunk);
    for (Index i = chunk.begin; i < chunk.end; ++i, dx += x_.sample_values())
      unpack(dx, x_, run.grad_input + i * x_.shape.features());
  }

 private:
  Value<T> x_;
  int dx_;
};

/// The loss of each sample and its gradient; sums are kept per group of samples.
template <class T>
class LossOp final : public Op<T> {
 public:
  LossOp(Plan<T>& plan, const Value<T>& y, int dy) : plan_(plan), y_(y), dy_(dy) {
    this->use_forward(y.tensor);
    if (dy >= 0) this->use_forward(dy);
  }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (chunk.first_of_group) plan_.loss_sums[chunk.group] = plan_.correct_sums[chunk.group] = 0;
    const T* y = memory.at(y_.tensor, chunk);
    T* dy = dy_ < 0 ? nullptr : memory.at(dy_, chunk);
    double sum = 0;
    for (Index i = chunk.begin; i < chunk.end; ++i, y += y_.sample_values()) {
      const Index sample = run.order ? run.order[i] : i;
      const T weight = run.y.sample_weight ? run.y.sample_weight.data[sample] : T(1);
      sum += weight * (run.y.labels ? labels(run, sample, y, dy, weight, chunk.group)
                                    : dense(run, memory, chunk, sample, y, dy, weight));
      if (dy) dy += y_.sample_values();
    }
    plan_.loss_sums[chunk.group] += sum;
  }
  void backward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  Index scratch_bytes() const override {
    return y_.sample_values() * static_cast<Index>(sizeof(T));
  }

 private:
  double labels(const Run<T>& run, Index sample, const T* y, T* dy, T weight, Index group) {
    const Loss<T>& loss = *run.loss;
    const Index pixels = y_.shape.pixels(), classes = y_.shape.channels;
    double sum = 0;
    for (Index p = 0; p < pixels; ++p, y += y_.width) {
      const Index label = run.y.labels.data[sample * pixels + p];
      T* row = dy ? dy + p * y_.width : nullptr;
      if (label == loss.ignore_index) {
        if (row) std::fill_n(row, classes, T(0));
        continue;
      }
      const T* class_weight = loss.class_weight.empty() ? nullptr : loss.class_weight.data();
      sum += kernel_table<T>().loss->cross_entropy(
          y, classes, label, class_weight, loss.label_smoothing, row, run.loss_scale * weight);
      plan_.correct_sums[group] += std::max_element(y, y + classes) - y == label;
    }
    return sum;
  }

  double dense(const Run<T>& run, const Memory<T>& memory, const Chunk& chunk, Index sample,
               const T* y, T* dy, T weight) {
    const Loss<T>& loss = *run.loss;
    const auto& kernels = *kernel_table<T>().loss;
    T* target = static_cast<T*>(memory.worker_scratch(chunk));
    pack(run.y.dense.data + sample * y_.shape.features(), y_, target);
    const T scale = run.loss_scale * weight;
    double sum = 0;
    for (Index p = 0; p < y_.shape.pixels(); ++p, y += y_.width, target += y_.width) {
      T* row = dy ? dy + p * y_.width : nullptr;
      if (loss.kind == LossKind::cross_entropy) {
        const T* class_weight = loss.class_weight.empty() ? nullptr : loss.class_weight.data();
        sum += kernels.cross_entropy_probabilities(y, y_.shape.channels, target, class_weight,
                                                   loss.label_smoothing, row, nullptr, scale);
      } else {
        double row_sum;
        PointwiseLossCall<T> call{};
        call.kind = pointwise_kind(loss.kind);
        call.x = y;
        call.t = target;
        call.scale = scale;
        call.sum = &row_sum;
        call.dx = row;
        call.n = y_.shape.channels;
        kernels.pointwise(call);
        sum += row_sum;
      }
    }
    return sum;
  }

  static PointwiseLoss pointwise_kind(LossKind kind) {
    switch (kind) {
      case LossKind::l1:
        return PointwiseLoss::absolute;
      case LossKind::bce:
        return PointwiseLoss::bce;
      case LossKind::bce_with_logits:
        return PointwiseLoss::bce_with_logits;
      default:
        return PointwiseLoss::squared;
    }
  }

  Plan<T>& plan_;
  Value<T> y_;
  int dy_;
};

}  // namespace

template <class T>
OpPtr<T> make_input(Plan<T>&, const Value<T>& y) {
  return std::make_unique<InputOp<T>>(y);
}
template <class T>
OpPtr<T> make_output(Plan<T>&, const Value<T>& y) {
  return std::make_unique<OutputOp<T>>(y);
}
template <class T>
OpPtr<T> make_grad_output(Plan<T>&, const Value<T>& y, int dy) {
  return std::make_unique<GradOutputOp<T>>(y, dy);
}
template <class T>
OpPtr<T> make_grad_input(Plan<T>&, const Value<T>& x, int dx) {
  return std::make_unique<GradInputOp<T>>(x, dx);
}
template <class T>
OpPtr<T> make_loss(Plan<T>& plan, const Value<T>& y, int dy) {
  return std::make_unique<LossOp<T>>(plan, y, dy);
}

template OpPtr<float> make_input(Plan<float>&, const Value<float>&);
template OpPtr<double> make_input(Plan<double>&, const Value<double>&);
template OpPtr<float> make_output(Plan<float>&, const Value<float>&);
template OpPtr<double> make_output(Plan<double>&, const Value<double>&);
template OpPtr<float> make_grad_output(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_grad_output(Plan<double>&, const Value<double>&, int);
template OpPtr<float> make_grad_input(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_grad_input(Plan<double>&, const Value<double>&, int);
template OpPtr<float> make_loss(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_loss(Plan<double>&, const Value<double>&, int);

}  // namespace piste
