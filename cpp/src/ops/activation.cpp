#include "piste/activation.h"

#include <algorithm>

#include "dispatch/dispatch.h"
#include "ops/elementwise.h"

namespace piste {

template <class T>
void activation(Activation kind, View<const T> x, View<T> y, T a, T b) {
  check_same_shape("activation", "input", x, "out", y);
  const auto& kernels = *kernel_table<T>().pointwise;
  for_each_part(x.size(),
                [&](Index i, Index n) { kernels.forward(kind, x.data + i, y.data + i, n, a, b); });
}

template <class T>
void activation_backward(Activation kind, View<const T> dy, View<const T> x, View<T> dx, T a, T b) {
  check_same_shape("activation", "grad_output", dy, "input", x);
  check_same_shape("activation", "input", x, "grad_input", dx);
  const auto& kernels = *kernel_table<T>().pointwise;
  for_each_part(x.size(), [&](Index i, Index n) {
    kernels.backward(kind, dy.data + i, x.data + i, dx.data + i, n, a, b);
  });
}

template <class T>
void dropout(View<const T> x, View<T> y, T p, std::uint64_t key) {
  check_same_shape("dropout", "input", x, "out", y);
  check(p >= 0 && p <= 1, "dropout", "expected a probability from 0 to 1, got ", p);
  const auto& kernels = *kernel_table<T>().pointwise;
  for_each_part(x.size(), [&](Index i, Index n) {
    kernels.dropout(x.data + i, y.data + i, n, p, key, static_cast<std::uint64_t>(i));
  });
}

namespace {

/// Runs rows(first, count) over the rows of an array's last axis, in parts that its shape fixes.
template <class T, class Rows>
void for_each_row_part(const View<T>& x, Rows&& rows) {
  check(x.shape.rank() >= 1, "softmax", "expected at least one axis, got a scalar");
  const Index channels = x.shape[-1], count = channels ? x.size() / channels : 0;
  const Split split(count, std::max<Index>(elementwise_grain / std::max<Index>(channels, 1), 1));
  parallel_for(split.count, [&](Index part, int) {
    rows(split.begin(part), split.end(part) - split.begin(part), channels);
  });
}

}  // namespace

template <class T>
void softmax(View<const T> x, View<T> y, bool log) {
  check_same_shape("softmax", "input", x, "out", y);
  const auto& kernels = *kernel_table<T>().softmax;
  for_each_row_part(x, [&](Index first, Index n, Index channels) {
    (log ? kernels.log_softmax : kernels.softmax)(x.data + first * channels,
                                                  y.data + first * channels, n, channels, channels);
  });
}

template <class T>
void softmax_backward(View<const T> dy, View<const T> y, View<T> dx, bool log) {
  check_same_shape("softmax", "grad_output", dy, "output", y);
  check_same_shape("softmax", "output", y, "grad_input", dx);
  const auto& kernels = *kernel_table<T>().softmax;
  for_each_row_part(y, [&](Index first, Index n, Index channels) {
    const Index i = first * channels;
    (log ? kernels.log_softmax_backward : kernels.softmax_backward)(
        dy.data + i, y.data + i, dx.data + i, n, channels, channels);
  });
}

template void activation(Activation, View<const float>, View<float>, float, float);
template void activation(Activation, View<const double>, View<double>, double, double);
template void activation_backward(Activation, View<const float>, View<const float>, View<float>,
                                  float, float);
template void activation_backward(Activation, View<const double>, View<const double>, View<double>,
                                  double, double);
template void softmax(View<const float>, View<float>, bool);
template void softmax(View<const double>, View<double>, bool);
template void softmax_backward(View<const float>, View<const float>, View<float>, bool);
template void softmax_backward(View<const double>, View<const double>, View<double>, bool);
template void dropout(View<const float>, View<float>, float, std::uint64_t);
template void dropout(View<const double>, View<double>, double, std::uint64_t);

}  // namespace piste
