// Operations on whole arrays of odd sizes, on several threads: their memory under the sanitizers.

#include <cmath>
#include <cstring>
#include <vector>

#include "array.h"
#include "piste/activation.h"
#include "piste/conv.h"
#include "piste/pool.h"
#include "piste/threads.h"

namespace piste {
namespace {

using test::Array;

struct Case {
  Index n, channels, height, width, filters, kernel, stride, padding, dilation, groups;
};

constexpr Case cases[] = {
    {1, 1, 5, 7, 1, 3, 1, 1, 1, 1},     {2, 3, 9, 8, 5, 3, 2, 1, 1, 1},
    {3, 17, 6, 5, 19, 1, 1, 0, 1, 1},   {2, 4, 8, 9, 6, 2, 3, 0, 2, 2},
    {2, 6, 7, 7, 6, 3, 1, 1, 1, 6},     {1, 33, 4, 4, 9, 5, 1, 2, 1, 1},
    {5, 16, 12, 11, 16, 3, 1, 1, 1, 1}, {0, 3, 5, 5, 2, 3, 1, 0, 1, 1},
    {2, 1, 29, 28, 6, 5, 1, 2, 1, 1},   {2, 13, 15, 17, 21, 3, 1, 1, 1, 1},
    {1, 40, 9, 9, 70, 1, 1, 0, 1, 1},   {3, 12, 11, 13, 24, 3, 1, 2, 2, 4},
    {5, 2, 2, 5, 1, 1, 4, 0, 1, 1},     {1, 9, 11, 13, 9, 3, 2, 1, 1, 9},
    {2, 5, 9, 10, 5, 2, 3, 0, 1, 5},    {1, 7, 6, 23, 7, 4, 1, 2, 1, 7},
};

template <class T>
T naive(const Array<T>& x, const Array<T>& weight, const Case& c, Index i, Index f, Index row,
        Index column) {
  double sum = 0;
  const Index per_group = c.channels / c.groups, first = f / (c.filters / c.groups) * per_group;
  for (Index channel = 0; channel < per_group; ++channel)
    for (Index r = 0; r < c.kernel; ++r)
      for (Index s = 0; s < c.kernel; ++s) {
        const Index h = row * c.stride + r * c.dilation - c.padding;
        const Index w = column * c.stride + s * c.dilation - c.padding;
        if (h < 0 || h >= c.height || w < 0 || w >= c.width) continue;
        sum += double(x.data[((i * c.channels + first + channel) * c.height + h) * c.width + w]) *
               double(weight.data[((f * per_group + channel) * c.kernel + r) * c.kernel + s]);
      }
  return static_cast<T>(sum);
}

template <class T>
void test_conv(const Case& c) {
  const auto extent = [&](Index in) {
    return (in + 2 * c.padding - c.dilation * (c.kernel - 1) - 1) / c.stride + 1;
  };
  const Index height = extent(c.height), width = extent(c.width);
  const Array<T> x({c.n, c.channels, 1, c.height, c.width}, 1);
  const Array<T> weight({c.filters, c.channels / c.groups, 1, c.kernel, c.kernel}, 2);
  const Array<T> bias({c.filters}, 3), dy({c.n, c.filters, 1, height, width}, 4);
  Array<T> y(dy.shape, 0), dx(x.shape, 0), dweight(weight.shape, 0), dbias(bias.shape, 0);
  ConvOptions options;
  options.stride = {1, c.stride, c.stride};
  options.dilation = {1, c.dilation, c.dilation};
  options.pad_low = options.pad_high = {0, c.padding, c.padding};
  options.groups = c.groups;
  conv<T>(x.view(), weight.view(), bias.view(), options, y.view());
  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-12;
  std::size_t at = 0;
  double dot = 0, bias_sum = 0;  // <y, dy> equals <x, dx> and <weight, dweight>: y is linear
  for (Index i = 0; i < c.n; ++i)
    for (Index f = 0; f < c.filters; ++f)
      for (Index row = 0; row < height; ++row)
        for (Index column = 0; column < width; ++column, ++at) {
          const T expected = naive(x, weight, c, i, f, row, column);
          EXPECT_CLOSE(y.data[at], expected + bias.data[static_cast<std::size_t>(f)], tolerance);
          dot += double(expected) * double(dy.data[at]);
          bias_sum += double(dy.data[at]);
        }
  conv_backward<T>(dy.view(), x.view(), weight.view(), options, dx.view(), dweight.view(),
                   dbias.view());
  double by_bias = 0;
  for (const T d : dbias.data) by_bias += double(d);
  EXPECT_CLOSE(test::dot(x, dx), dot, tolerance * 10);
  EXPECT_CLOSE(test::dot(weight, dweight), dot, tolerance * 10);
  EXPECT_CLOSE(by_bias, bias_sum, tolerance * 10);
}

template <class T>
void test_pools_of_odd_planes() {
  const Array<T> x({2, 3, 1, 7, 5}, 5);
  for (const Index kernel : {2, 3, 5}) {
    const PoolWindow window{{1, kernel, kernel}, {1, 2, 1}, {0, kernel / 2, 1}, {1, 1, 1}, true};
    const Index height = pool_extent(7, kernel, 2, kernel / 2, 1, true);
    const Index width = pool_extent(5, kernel, 1, 1, 1, true);
    Array<T> y({2, 3, 1, height, width}, 0), dx(x.shape, 0);
    const Array<T> dy(y.shape, 6);
    max_pool<T>(x.view(), y.view(), {}, window);
    max_pool_backward<T>(dy.view(), x.view(), dx.view(), window);
    double given = 0, got = 0;
    for (const T d : dy.data) given += double(d);
    for (const T d : dx.data) got += double(d);
    EXPECT_CLOSE(got, given, 1e-4);
    avg_pool<T>(x.view(), y.view(), window, false, 0);
    avg_pool_backward<T>(dy.view(), dx.view(), window, false, 0);
  }
  Array<T> y({2, 3, 1, 4, 2}, 0), dx(x.shape, 0);
  adaptive_avg_pool<T>(x.view(), y.view());
  adaptive_avg_pool_backward<T>(y.view(), dx.view());
}

template <class T>
void test_pointwise_tails() {
  for (const Index n : {0, 1, 3, 17, 1000}) {
    const Array<T> x({n}, 7);
    Array<T> y(x.shape, 0);
    for (const Activation kind : {Activation::relu, Activation::sigmoid, Activation::tanh}) {
      activation<T>(kind, x.view(), y.view(), 0, 0);
      activation_backward<T>(kind, x.view(), x.view(), y.view(), 0, 0);
    }
    dropout<T>(x.view(), y.view(), T(0.5), 9);
  }
}

template <class T>
void test_all() {
  for (const Case& c : cases) test_conv<T>(c);
  test_pools_of_odd_planes<T>();
  test_pointwise_tails<T>();
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
