// Where a plan meets the user's arrays: NCHW outside, NHWC inside.

#include <cstring>
#include <optional>

#include "dispatch/dispatch.h"
#include "engine/augment.h"
#include "engine/layers.h"
#include "engine/sample_reader.h"

namespace piste {
namespace {

/// Gathers the batch's samples out of the whole set, wherever shuffling put them.
template <class T>
class InputOp final : public Op<T> {
 public:
  explicit InputOp(const Value<T>& y) : y_(y) { this->use_forward(y.tensor); }

  void forward(int, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    if (memory.borrowed == y_.tensor) return;
    const SampleReader<T> reader(run.x, run.input_scale, run.input_shift);
    T* y = memory.at(y_.tensor, chunk);
    T* numbers = static_cast<T*>(memory.worker_scratch(chunk));
    std::optional<Augmenter<T>> augmenter;
    if (run.augmentation) augmenter.emplace(run, y_.shape);
    for (Index i = chunk.begin; i < chunk.end; ++i, y += y_.sample_values()) {
      const Index sample = run.order ? run.order[i] : i;
      const T* from = reader.read(sample, numbers);
      if (augmenter) {
        augmenter->apply(from, i, numbers + y_.shape.features());
        from = numbers + y_.shape.features();
      }
      pack_sample(from, y_, y);
    }
  }
  void backward(int, const Run<T>&, const Memory<T>&, const Chunk&) override {}
  Index scratch_bytes(Index) const override {
    return 2 * y_.shape.features() * static_cast<Index>(sizeof(T));
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
      unpack_sample(y, y_, run.out + i * y_.shape.features());
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
      pack_sample(run.grad_output + i * y_.shape.features(), y_, dy);
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
      unpack_sample(dx, x_, run.grad_input + i * x_.shape.features());
  }

 private:
  Value<T> x_;
  int dx_;
};

}  // namespace

template <class T>
void pack_sample(const T* nchw, const Value<T>& value, T* rows) {
  const MapShape& s = value.shape;
  if (value.width == 1 || (s.pixels() == 1 && value.width == s.channels))
    std::memcpy(rows, nchw, s.features() * sizeof(T));
  else
    kernel_table<T>().layout->transpose(nchw, s.pixels(), rows, value.width, s.channels, s.pixels(),
                                        value.width);
}

template <class T>
void unpack_sample(const T* rows, const Value<T>& value, T* nchw) {
  const MapShape& s = value.shape;
  if (s.pixels() == 1)
    std::memcpy(nchw, rows, s.channels * sizeof(T));
  else
    kernel_table<T>().layout->transpose(rows, value.width, nchw, s.pixels(), s.pixels(), s.channels,
                                        s.pixels());
}

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

template void pack_sample(const float*, const Value<float>&, float*);
template void pack_sample(const double*, const Value<double>&, double*);
template void unpack_sample(const float*, const Value<float>&, float*);
template void unpack_sample(const double*, const Value<double>&, double*);
template OpPtr<float> make_input(Plan<float>&, const Value<float>&);
template OpPtr<double> make_input(Plan<double>&, const Value<double>&);
template OpPtr<float> make_output(Plan<float>&, const Value<float>&);
template OpPtr<double> make_output(Plan<double>&, const Value<double>&);
template OpPtr<float> make_grad_output(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_grad_output(Plan<double>&, const Value<double>&, int);
template OpPtr<float> make_grad_input(Plan<float>&, const Value<float>&, int);
template OpPtr<double> make_grad_input(Plan<double>&, const Value<double>&, int);

}  // namespace piste
