// What stands around a convolution's input where that is no zeros.

#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/layers.h"

namespace piste {
namespace {

/// Where the value at place `at` of an axis comes from; the input's own places are 0 to extent - 1.
Index source(PaddingMode mode, Index at, Index extent) {
  if (at >= 0 && at < extent) return at;
  const bool before = at < 0;
  if (mode == PaddingMode::reflect) return before ? -at : 2 * (extent - 1) - at;
  if (mode == PaddingMode::circular) return before ? at + extent : at - extent;
  return before ? 0 : extent - 1;
}

template <class T>
class PadOp final : public Op<T> {
 public:
  PadOp(const Node& node, const Value<T>& x, const Value<T>& y)
      : mode_(node.padding_mode), padding_(node.padding), x_(x), y_(y) {
    this->use_forward(x_.tensor);
    this->use_forward(y_.tensor);
  }

  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    this->use_backward(dy_);
    this->use_backward(dx_);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    for (Index i = 0; i < chunk.count(); ++i) {
      for_runs([&](Index from, Index to, Index n) { std::copy_n(x + from, n, y + to); });
      x += x_.sample_values();
      y += y_.sample_values();
    }
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ < 0) return;
    const auto& kernels = *kernel_table<T>().pointwise;
    const T* dy = memory.at(dy_, chunk);
    T* dx = memory.at(dx_, chunk);
    std::fill_n(dx, chunk.count() * x_.sample_values(), T(0));
    for (Index i = 0; i < chunk.count(); ++i) {
      for_runs([&](Index at, Index from, Index n) { kernels.add(dx + at, dy + from, dx + at, n); });
      dx += x_.sample_values();
      dy += y_.sample_values();
    }
  }

 private:
  /// body(place in a sample of x, place in one of y, values) for all that y is made of: each of its
  /// rows is a row of x between single pixels.
  template <class Body>
  void for_runs(Body&& body) const {
    const auto [depth, height, width] = x_.shape.extents();
    const auto [before, after] = padding_[2];
    Index to = 0;
    for (Index d = -padding_[0][0]; d < depth + padding_[0][1]; ++d)
      for (Index h = -padding_[1][0]; h < height + padding_[1][1]; ++h) {
        const Index row = source(mode_, d, depth) * height + source(mode_, h, height);
        const auto pixels = [&](Index w, Index count) {
          body((row * width + source(mode_, w, width)) * x_.width, to, count * x_.width);
          to += count * x_.width;
        };
        for (Index w = -before; w < 0; ++w) pixels(w, 1);
        pixels(0, width);
        for (Index w = width; w < width + after; ++w) pixels(w, 1);
      }
  }

  PaddingMode mode_;
  std::array<Pair, 3> padding_;
  Value<T> x_, y_;  // of one width
  int dy_ = -1, dx_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_pad(const Node& node, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<PadOp<T>>(node, x, y);
}

template OpPtr<float> make_pad(const Node&, const Value<float>&, const Value<float>&);
template OpPtr<double> make_pad(const Node&, const Value<double>&, const Value<double>&);

}  // namespace piste
