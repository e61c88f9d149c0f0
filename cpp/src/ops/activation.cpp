#include "piste/activation.h"

#include <algorithm>

#include "dispatch/dispatch.h"
#include "ops/elementwise.h"

namespace piste {

template <class T>
void activation(Activation kind, View<const T> x, View<T> y, T a, T b) {
  check_same_shape("activation", "input", x, "out", y);
  const auto& kernels = *kernel_table<T>().pointwise;
  const Stores stores = stores_of(y);
  for_each_part(x.size(), [&](Index i, Index n) {
    kernels.forward(kind, x.data + i, y.data + i, n, a, b, stores);
  });
}

template <class T>
void activation_backward(Activation kind, View<const T> dy, View<const T> x, View<T> dx, T a, T b) {
  check_same_shape("activation", "grad_output", dy, "input", x);
  check_same_shape("activation", "input", x, "grad_input", dx);
  const auto& kernels = *kernel_table<T>().pointwise;
  const Stores stores = stores_of(dx);
  for_each_part(x.size(), [&](Index i, Index n) {
    kernels.backward(kind, dy.data + i, x.data + i, dx.data + i, n, a, b, stores);
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

template void activation(Activation, View<const float>, View<float>, float, float);
template void activation(Activation, View<const double>, View<double>, double, double);
template void activation_backward(Activation, View<const float>, View<const float>, View<float>,
                                  float, float);
template void activation_backward(Activation, View<const double>, View<const double>, View<double>,
                                  double, double);
template void dropout(View<const float>, View<float>, float, std::uint64_t);
template void dropout(View<const double>, View<double>, double, std::uint64_t);

}  // namespace piste
