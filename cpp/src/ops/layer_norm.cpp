#include "ops/row_norm.h"
#include "piste/norm.h"

namespace piste {
namespace {

template <class T>
void check_layer_norm(const View<const T>& x, const View<const T>& weight,
                      const View<const T>& bias, const Shape& other) {
  check(x.shape.rank() == 2, "layer_norm", "expected (rows, values), got ", x.shape);
  check(other == x.shape, "layer_norm", "expected an output of ", x.shape, ", got ", other);
  for (const auto& [view, name] : {std::pair(weight, "weight"), std::pair(bias, "bias")})
    check(!view || view.shape == Shape{x.shape[1]}, "layer_norm", name, " has shape ", view.shape,
          ", expected ", Shape{x.shape[1]});
}

}  // namespace

template <class T>
void layer_norm(View<const T> x, View<const T> weight, View<const T> bias, double eps, View<T> y) {
  check_layer_norm(x, weight, bias, y.shape);
  const Index n = x.shape[1];
  const Affine<T> affine(weight.data, bias.data, weight || bias, n, 1);
  RowNorm<T>{x.shape[0], n, 1, eps, affine.weight(), affine.bias()}.forward(x.data, y.data, nullptr,
                                                                            nullptr);
}

template <class T>
void layer_norm_backward(View<const T> dy, View<const T> x, View<const T> weight, double eps,
                         View<T> dx, View<T> dweight, View<T> dbias) {
  check_layer_norm<T>(x, weight, dweight, dx.shape);
  check_layer_norm<T>(x, dbias, {}, dy.shape);
  const Index n = x.shape[1];
  const Affine<T> affine(weight.data, nullptr, weight || dbias, n, 1);
  RowNorm<T>{x.shape[0], n, 1, eps, affine.weight(), affine.bias()}.backward(
      dy.data, x.data, dx.data, dweight.data, dbias.data);
}

template void layer_norm(View<const float>, View<const float>, View<const float>, double,
                         View<float>);
template void layer_norm(View<const double>, View<const double>, View<const double>, double,
                         View<double>);
template void layer_norm_backward(View<const float>, View<const float>, View<const float>, double,
                                  View<float>, View<float>, View<float>);
template void layer_norm_backward(View<const double>, View<const double>, View<const double>,
                                  double, View<double>, View<double>, View<double>);

}  // namespace piste
