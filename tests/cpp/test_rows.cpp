// Products, normalisations and losses over rows of odd lengths: their memory under the sanitizers.

#include <cmath>
#include <vector>

#include "array.h"
#include "piste/linear.h"
#include "piste/loss.h"
#include "piste/norm.h"
#include "piste/threads.h"

namespace piste {
namespace {

using test::Array;
using test::dot;

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 1e-3 : 1e-11;

template <class T>
void test_linear(Index n, Index in, Index out) {
  const Array<T> x({n, in}, 1), weight({out, in}, 2), bias({out}, 3), dy({n, out}, 4);
  Array<T> y(dy.shape, 0), dx(x.shape, 0), dweight(weight.shape, 0), dbias(bias.shape, 0);
  linear<T>(x.view(), weight.view(), bias.view(), y.view());
  double product = 0;  // <x weight^T, dy> equals <x, dx> and <weight, dweight>
  std::size_t at = 0;
  for (Index i = 0; i < n; ++i)
    for (Index o = 0; o < out; ++o, ++at) {
      double sum = 0;
      for (Index k = 0; k < in; ++k)
        sum += double(x.data[static_cast<std::size_t>(i * in + k)]) *
               double(weight.data[static_cast<std::size_t>(o * in + k)]);
      EXPECT_CLOSE(y.data[at], sum + double(bias.data[static_cast<std::size_t>(o)]), tolerance<T>);
      product += sum * double(dy.data[at]);
    }
  linear_backward<T>(dy.view(), x.view(), weight.view(), dx.view(), dweight.view(), dbias.view());
  EXPECT_CLOSE(dot(x, dx), product, tolerance<T>);
  EXPECT_CLOSE(dot(weight, dweight), product, tolerance<T>);
  EXPECT_CLOSE(dot(bias, dbias), dot(y, dy) - product, tolerance<T>);
}

/// What a normalisation takes away, its gradient must not have: the sum of dx is 0. And what it
/// scales alike, gives <dy, y - bias> = <weight, dweight>.
template <class T>
void check_norm(const Array<T>& dy, const Array<T>& y, const Array<T>& dx, const Array<T>& weight,
                const Array<T>& dweight, const Array<T>& bias, const Array<T>& dbias) {
  double sum = 0;
  for (const T d : dx.data) sum += double(d);
  EXPECT_CLOSE(sum, 0, tolerance<T>);
  EXPECT_CLOSE(dot(weight, dweight), dot(dy, y) - dot(bias, dbias), tolerance<T>);
}

template <class T>
void test_norms(Index n, Index channels, Index pixels) {
  const Array<T> x({n, channels, pixels}, 1), dy(x.shape, 2);
  const Array<T> weight({channels}, 3), bias({channels}, 4);
  Array<T> y(x.shape, 0), dx(x.shape, 0), dweight(weight.shape, 0), dbias(bias.shape, 0);
  const BatchNormOptions training{true, 0.1, 1e-5};
  batch_norm<T>(x.view(), {}, {}, weight.view(), bias.view(), training, y.view());
  batch_norm_backward<T>(dy.view(), x.view(), {}, {}, weight.view(), training, dx.view(),
                         dweight.view(), dbias.view());
  check_norm(dy, y, dx, weight, dweight, bias, dbias);
  for (const Index groups : {Index(1), channels}) {
    Array<T> mean({n, groups}, 0), var({n, groups}, 0);
    group_norm<T>(x.view(), groups, weight.view(), bias.view(), 1e-5, y.view(), mean.view(),
                  var.view());
    group_norm_backward<T>(dy.view(), x.view(), groups, weight.view(), 1e-5, dx.view(),
                           dweight.view(), dbias.view());
    check_norm(dy, y, dx, weight, dweight, bias, dbias);
  }
  const Array<T> rows({n * pixels, channels}, 5), drows(rows.shape, 6);
  Array<T> scaled(rows.shape, 0), dx_rows(rows.shape, 0);
  layer_norm<T>(rows.view(), weight.view(), bias.view(), 1e-5, scaled.view());
  layer_norm_backward<T>(drows.view(), rows.view(), weight.view(), 1e-5, dx_rows.view(),
                         dweight.view(), dbias.view());
  check_norm(drows, scaled, dx_rows, weight, dweight, bias, dbias);
  ResponseNormOptions response;
  response.size = 3;
  response.beta = 0;  // a power of 0 leaves everything as it is
  local_response_norm<T>(x.view(), response, y.view());
  EXPECT(y.data == x.data);
  local_response_norm_backward<T>(dy.view(), x.view(), response, dx.view());
  EXPECT(dx.data == dy.data);
}

template <class T>
void test_losses(Index samples, Index classes, Index pixels) {
  const Array<T> input({samples, classes, pixels}, 1);
  Array<T> dx(input.shape, 0), losses({samples, pixels}, 0);
  std::vector<std::int64_t> labels(losses.data.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::int64_t>(i) % classes;
  LabelLossInput<T> loss;
  loss.input = input.view();
  loss.labels = {labels.data(), losses.shape};
  const double total = cross_entropy<T>(loss, T(0.1), losses.view());
  double sum = 0;
  for (const T value : losses.data) sum += double(value);
  EXPECT_CLOSE(total, sum, tolerance<T>);
  cross_entropy_backward<T>(loss, T(0.1), {}, T(1), dx.view());
  sum = 0;  // softmax and target both sum to 1
  for (const T d : dx.data) sum += double(d);
  EXPECT_CLOSE(sum, 0, tolerance<T>);

  const Array<T> target(input.shape, 2);
  Array<T> each(input.shape, 0), dtarget(input.shape, 0);
  const PointwiseLossInput<T> squares{PointwiseLoss::squared, 0,  0, input.view(),
                                      target.view(),          {}, {}};
  double expected = 0;
  for (std::size_t i = 0; i < input.data.size(); ++i)
    expected += std::pow(double(input.data[i]) - double(target.data[i]), 2);
  EXPECT_CLOSE(pointwise_loss<T>(squares, each.view()), expected, tolerance<T>);
  pointwise_loss_backward<T>(squares, {}, T(1), dx.view(), dtarget.view(), {});
  for (std::size_t i = 0; i < dx.data.size(); ++i) EXPECT(dx.data[i] == -dtarget.data[i]);
}

template <class T>
void test_all() {
  for (const Index n : {1, 3, 65})
    for (const Index in : {1, 7, 40, 131})
      for (const Index out : {1, 10, 33}) test_linear<T>(n, in, out);
  test_linear<T>(0, 4, 5);
  for (const Index channels : {2, 5, 17})
    for (const Index pixels : {3, 19, 64}) {
      test_norms<T>(3, channels, pixels);
      test_losses<T>(3, channels, pixels);
    }
}

}  // namespace
}  // namespace piste

int main() {
  for (const int threads : {1, 3}) {
    piste::set_num_threads(threads);
    piste::test_all<float>();
    piste::test_all<double>();
  }
  return piste::test::failures != 0;
}
