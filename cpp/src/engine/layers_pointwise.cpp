#include <cstring>

#include "dispatch/dispatch.h"
#include "engine/layers.h"
#include "engine/random.h"

namespace piste {
namespace {

/// Activations; the gradient of ReLU is read off its output, so that its input needn't be kept.
template <class T>
class ActivationOp final : public Op<T> {
 public:
  ActivationOp(const Node& node, const Value<T>& x, const Value<T>& y)
      : kind_(node.activation),
        a_(static_cast<T>(node.a)),
        b_(static_cast<T>(node.b)),
        x_(x.tensor),
        y_(y.tensor),
        values_(y.sample_values()) {
    this->use_forward(x_);
    this->use_forward(y_);
  }

  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    kept_ = kind_ == Activation::relu ? y_ : x_;
    for (int tensor : {dy_, dx_, kept_}) this->use_backward(tensor);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    kernel_table<T>().pointwise->forward(kind_, memory.at(x_, chunk), memory.at(y_, chunk),
                                         chunk.count() * values_, a_, b_, kernels::Stores::cached);
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ < 0) return;
    kernel_table<T>().pointwise->backward(kind_, memory.at(dy_, chunk), memory.at(kept_, chunk),
                                          memory.at(dx_, chunk), chunk.count() * values_, a_, b_,
                                          kernels::Stores::cached);
  }

 private:
  Activation kind_;
  T a_, b_;
  int x_, y_, dy_ = -1, dx_ = -1, kept_ = -1;
  Index values_;
};

/// Dropout. Whether a value is kept depends on (seed, step, layer, its place in the batch) alone.
template <class T>
class DropoutOp final : public Op<T> {
 public:
  DropoutOp(const Node& node, int layer, const Value<T>& x, const Value<T>& y)
      : p_(static_cast<T>(node.a)),
        layer_(layer),
        x_(x.tensor),
        y_(y.tensor),
        values_(y.sample_values()),
        shape_(y.shape),
        channels_(node.axes > 0) {
    this->use_forward(x_);
    this->use_forward(y_);
  }

  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    this->use_backward(dy_);
    this->use_backward(dx_);
  }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    apply(run, chunk, memory.at(x_, chunk), memory.at(y_, chunk));
  }
  void backward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ >= 0) apply(run, chunk, memory.at(dy_, chunk), memory.at(dx_, chunk));
  }

 private:
  void apply(const Run<T>& run, const Chunk& chunk, const T* x, T* y) const {
    const Index n = chunk.count() * values_;
    if (!run.training) {
      std::memcpy(y, x, n * sizeof(T));
      return;
    }
    // A value's number doesn't count the padding of channels, which differs between vectors; whole
    // channels are numbered themselves.
    const Index pixels = shape_.pixels(), rows = chunk.count() * pixels, width = values_ / pixels;
    const Index each = channels_ ? pixels : 1;  // pixels that share their numbers
    std::memset(y, 0, n * sizeof(T));
    for (Index row = 0; row < rows; ++row)
      kernel_table<T>().pointwise->dropout(x + row * width, y + row * width, shape_.channels, p_,
                                           key(run),
                                           (chunk.begin * pixels + row) / each * shape_.channels);
  }

  std::uint64_t key(const Run<T>& run) const { return step_key(run.seed, run.step, layer_); }

  T p_;
  int layer_, x_, y_, dy_ = -1, dx_ = -1;
  Index values_;
  MapShape shape_;
  bool channels_;  // whole ones are dropped
};

/// Sum of two values, ReLU included. Both have the same gradient, that of the sum.
template <class T>
class AddOp final : public Op<T> {
 public:
  explicit AddOp(const Site<T>& site) : site_(site) {
    for (const Value<T>* value : {&site_.x, &site_.addend, &site_.y})
      this->use_forward(value->tensor);
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>&) override {
    gradient_.link(plan, dy, site_.y, site_.masks);
    if (gradient_.passes())
      for (int tensor : gradient_.uses()) this->use_backward(tensor);
    plan.set_spare(gradient_.tensor(), false);  // two read it
  }
  bool link_second(int dy) override {
    gradient_.link_second(dy);
    return true;
  }
  int passed_on() const override { return gradient_.tensor(); }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const auto& kernels = *kernel_table<T>().pointwise;
    (site_.relu ? kernels.add_relu : kernels.add)(
        memory.at(site_.x.tensor, chunk), memory.at(site_.addend.tensor, chunk),
        memory.at(site_.y.tensor, chunk), chunk.count() * site_.y.sample_values());
  }

  int backward_phases(bool) const override { return gradient_.passes() ? 1 : 0; }
  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    gradient_.read(memory, chunk);
  }

 private:
  Site<T> site_;
  OutputGradient<T> gradient_;
};

template <class T>
class GradientSumOp final : public Op<T> {
 public:
  GradientSumOp(const std::vector<int>& parts, int dy, Index values)
      : parts_(parts), dy_(dy), values_(values) {
    for (int part : parts_) this->use_backward(part);
    this->use_backward(dy_);
  }
  void forward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    T* dy = memory.at(dy_, chunk);
    const T* sum = memory.at(parts_[0], chunk);
    for (std::size_t i = 1; i < parts_.size(); ++i, sum = dy)
      kernel_table<T>().pointwise->add(sum, memory.at(parts_[i], chunk), dy,
                                       chunk.count() * values_);
  }

 private:
  std::vector<int> parts_;
  int dy_;
  Index values_;
};

template <class T>
class SoftmaxOp final : public Op<T> {
 public:
  SoftmaxOp(const Node& node, const Value<T>& x, const Value<T>& y)
      : log_(node.kind == NodeKind::log_softmax), x_(x.tensor), y_(y) {
    this->use_forward(x_);
    this->use_forward(y.tensor);
  }
  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    for (int tensor : {dy_, dx_, y_.tensor}) this->use_backward(tensor);
  }
  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const auto& kernels = *kernel_table<T>().softmax;
    (log_ ? kernels.log_softmax : kernels.softmax)(memory.at(x_, chunk),
                                                   memory.at(y_.tensor, chunk), rows(chunk),
                                                   y_.width, y_.shape.channels);
  }
  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ < 0) return;
    const auto& kernels = *kernel_table<T>().softmax;
    (log_ ? kernels.log_softmax_backward : kernels.softmax_backward)(
        memory.at(dy_, chunk), memory.at(y_.tensor, chunk), memory.at(dx_, chunk), rows(chunk),
        y_.width, y_.shape.channels);
  }

 private:
  Index rows(const Chunk& chunk) const { return chunk.count() * y_.shape.pixels(); }
  bool log_;
  int x_, dy_ = -1, dx_ = -1;
  Value<T> y_;
};

}  // namespace

template <class T>
OpPtr<T> make_activation(Plan<T>&, const Node& node, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<ActivationOp<T>>(node, x, y);
}
template <class T>
OpPtr<T> make_dropout(Plan<T>&, const Node& node, int layer, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<DropoutOp<T>>(node, layer, x, y);
}
template <class T>
OpPtr<T> make_add(const Site<T>& site) {
  return std::make_unique<AddOp<T>>(site);
}
template <class T>
OpPtr<T> make_softmax(Plan<T>&, const Node& node, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<SoftmaxOp<T>>(node, x, y);
}
template <class T>
OpPtr<T> make_gradient_sum(Plan<T>&, const Value<T>& y, const std::vector<int>& parts, int dy) {
  return std::make_unique<GradientSumOp<T>>(parts, dy, y.sample_values());
}

template OpPtr<float> make_activation(Plan<float>&, const Node&, const Value<float>&,
                                      const Value<float>&);
template OpPtr<double> make_activation(Plan<double>&, const Node&, const Value<double>&,
                                       const Value<double>&);
template OpPtr<float> make_dropout(Plan<float>&, const Node&, int, const Value<float>&,
                                   const Value<float>&);
template OpPtr<double> make_dropout(Plan<double>&, const Node&, int, const Value<double>&,
                                    const Value<double>&);
template OpPtr<float> make_add(const Site<float>&);
template OpPtr<double> make_add(const Site<double>&);
template OpPtr<float> make_softmax(Plan<float>&, const Node&, const Value<float>&,
                                   const Value<float>&);
template OpPtr<double> make_softmax(Plan<double>&, const Node&, const Value<double>&,
                                    const Value<double>&);
template OpPtr<float> make_gradient_sum(Plan<float>&, const Value<float>&, const std::vector<int>&,
                                        int);
template OpPtr<double> make_gradient_sum(Plan<double>&, const Value<double>&,
                                         const std::vector<int>&, int);

}  // namespace piste
