#include "piste/activation.h"

#include "dispatch/dispatch.h"
#include "ops/elementwise.h"

namespace piste {

template <class T>
void relu(View<const T> x, View<T> y) {
  check_same_shape("relu", "input", x, "out", y);
  const auto& kernels = *kernel_table<T>().pointwise;
  for_each_part(x.size(), [&](Index i, Index n) { kernels.relu(x.data + i, y.data + i, n); });
}

template <class T>
void relu_backward(View<const T> dy, View<const T> x, View<T> dx) {
  check_same_shape("relu", "grad_output", dy, "input", x);
  check_same_shape("relu", "input", x, "grad_input", dx);
  const auto& kernels = *kernel_table<T>().pointwise;
  for_each_part(x.size(), [&](Index i, Index n) {
    kernels.relu_backward(dy.data + i, x.data + i, dx.data + i, n);
  });
}

template void relu(View<const float>, View<float>);
template void relu(View<const double>, View<double>);
template void relu_backward(View<const float>, View<const float>, View<float>);
template void relu_backward(View<const double>, View<const double>, View<double>);

}  // namespace piste
