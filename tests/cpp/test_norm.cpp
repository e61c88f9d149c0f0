// Norms over rows of pixels, with what is added to them and the gradients of sums and ReLU.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch/dispatch.h"
#include "isa.h"

namespace piste {
namespace {

using test::values;

constexpr Index rows = 7;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// Every way that a gradient is left: in one part or two, before ReLU or not, over one of them.
template <class T, class Check>
void for_each_gradient(std::size_t n, const Check& check) {
  const std::vector<T> first = values<T>(n, 1), second = values<T>(n, 2), y = values<T>(n, 3);
  for (const bool adds : {false, true})
    for (const bool masks : {false, true})
      for (const bool in_place : {false, true}) {
        std::vector<T> expected = first, part = first, whole(n, T(9));
        for (std::size_t i = 0; i < n; ++i) {
          if (adds) expected[i] += second[i];
          if (masks && y[i] <= 0) expected[i] = 0;
        }
        kernels::OutputGradient<T> g{part.data()};
        if (adds) g.second = second.data();
        if (masks) g.y = y.data();
        if (adds || masks) g.whole = in_place ? part.data() : whole.data();
        check(g, expected);
      }
}

template <class T>
void test_output_gradient() {
  for (const Index n : {1, 5, 16, 33})
    for_each_gradient<T>(size(n), [&](const auto& g, const std::vector<T>& expected) {
      if (!g.whole) return;
      kernel_table<T>().pointwise->output_gradient(g, n);
      EXPECT(std::equal(expected.begin(), expected.end(), g.whole));
    });
}

template <class T>
void test_sums(Index width) {
  const std::size_t n = size(rows * width);
  const std::vector<T> x = values<T>(n, 4), mean = values<T>(size(width), 5);
  for_each_gradient<T>(n, [&](const auto& g, const std::vector<T>& dy) {
    std::vector<T> sum(size(width), T(1)), sum_x(size(width), T(2));
    kernel_table<T>().norm->backward_sums(g, x.data(), mean.data(), rows, width, sum.data(),
                                          sum_x.data());
    for (std::size_t c = 0; c < size(width); ++c) {
      double of_dy = 1, of_dy_x = 2;
      for (std::size_t i = c; i < n; i += size(width))
        of_dy += double(dy[i]), of_dy_x += double(dy[i]) * double(x[i] - mean[c]);
      EXPECT_CLOSE(sum[c], of_dy, 1e-5);
      EXPECT_CLOSE(sum_x[c], of_dy_x, 1e-5);
    }
    if (g.whole) EXPECT(std::equal(dy.begin(), dy.end(), g.whole));
  });
}

template <class T>
void test_scale_shift(Index width) {
  const std::size_t n = size(rows * width);
  const std::vector<T> x = values<T>(n, 1), z = values<T>(n, 2);
  const std::vector<T> scale = values<T>(size(width), 3), shift = values<T>(size(width), 4);
  const kernels::NormAddend<T> addends[] = {{}, {z.data()}, {z.data(), shift.data(), scale.data()}};
  for (const kernels::NormAddend<T>& addend : addends)
    for (const bool relu : {false, true}) {
      std::vector<T> y(n);
      kernel_table<T>().norm->scale_shift(x.data(), addend, y.data(), rows, width, scale.data(),
                                          shift.data(), relu);
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t c = i % size(width);
        T sum = x[i] * scale[c] + shift[c];
        if (addend.x) sum += addend.scale ? z[i] * shift[c] + scale[c] : z[i];
        EXPECT_CLOSE(y[i], relu ? std::max(sum, T(0)) : sum, 1e-5);
      }
    }
}

template <class T>
void test_moments(Index width) {
  const std::size_t n = size(rows * width);
  const std::vector<T> x = values<T>(n, 6);
  std::vector<T> mean(size(width)), m2(size(width));
  kernel_table<T>().norm->moments(x.data(), rows, width, mean.data(), m2.data());
  for (std::size_t c = 0; c < size(width); ++c) {
    double average = 0, squares = 0;
    for (std::size_t i = c; i < n; i += size(width)) average += double(x[i]) / double(rows);
    for (std::size_t i = c; i < n; i += size(width))
      squares += (double(x[i]) - average) * (double(x[i]) - average);
    EXPECT_CLOSE(mean[c], average, 1e-5);
    EXPECT_CLOSE(m2[c], squares, 1e-5);
  }
}

template <class T>
void test_all() {
  test_output_gradient<T>();
  for (const Index vectors : {1, 2, 3, 4, 5, 7, 8}) {
    const Index width = vectors * kernel_table<T>().lanes;
    test_sums<T>(width);
    test_scale_shift<T>(width);
    test_moments<T>(width);
  }
}

}  // namespace
}  // namespace piste

int main(int argc, char** argv) {
  return piste::test::run_on_isa(argc, argv, [] {
    piste::test_all<float>();
    piste::test_all<double>();
  });
}
