#include "piste/linear.h"

#include <array>

#include "base/aligned.h"
#include "ops/matmul.h"

namespace piste {
namespace {

constexpr Index bias_values = 1 << 15;  // summed by a task at least, in whole cache lines

struct Sizes {
  Index rows = 1, in, out = 1;
};

Sizes sizes_of(const Shape& x, const Shape& weight, const Shape& y) {
  check(weight.rank() == 1 || weight.rank() == 2, "linear",
        "expected a weight (out, in) or (in), got ", weight);
  Sizes s{1, weight[-1], weight.rank() == 2 ? weight[0] : 1};
  check(x.rank() >= 1 && x[-1] == s.in, "linear", "expected an input of ", s.in,
        " features in its last axis, got ", x);
  Shape expected;
  for (int axis = 0; axis + 1 < x.rank(); ++axis) {
    s.rows = checked_mul(s.rows, x[axis]);
    expected.push_back(x[axis]);
  }
  if (weight.rank() == 2) expected.push_back(s.out);
  check(y == expected, "linear", "expected an output of shape ", expected, ", got ", y);
  return s;
}

void check_bias(const Shape& bias, const Shape& weight) {
  const Shape expected = weight.rank() == 2 ? Shape{weight[0]} : Shape{};
  check(bias == expected, "linear", "bias has shape ", bias, ", expected ", expected);
}

}  // namespace

template <class T>
void linear(View<const T> x, View<const T> weight, View<const T> bias, View<T> y) {
  const Sizes s = sizes_of(x.shape, weight.shape, y.shape);
  if (bias) check_bias(bias.shape, weight.shape);
  matmul<T>(
      {s.rows, s.out, s.in, {x.data, s.in}, {weight.data, s.in, true}, {y.data, s.out}, bias.data});
}

template <class T>
void linear_backward(View<const T> dy, View<const T> x, View<const T> weight, View<T> dx,
                     View<T> dweight, View<T> dbias) {
  const Sizes s = sizes_of(x.shape, weight.shape, dy.shape);
  check(!dx || dx.shape == x.shape, "linear", "grad_input has shape ", dx.shape, ", expected ",
        x.shape);
  check(!dweight || dweight.shape == weight.shape, "linear", "grad_weight has shape ",
        dweight.shape, ", expected ", weight.shape);
  if (dbias) check_bias(dbias.shape, weight.shape);

  const Matmul<T> by_input(
      {s.rows, s.in, s.out, {dy.data, s.out}, {weight.data, s.in}, {dx.data, s.in}});
  const Matmul<T> by_weight(
      {s.out, s.in, s.rows, {dy.data, s.out, true}, {x.data, s.in}, {dweight.data, s.in}});
  std::array<Matmul<T>, 2> products{by_input, by_weight};
  const std::span<const Matmul<T>> wanted =
      std::span(products).subspan(dx ? 0 : 1, Index(bool(dx)) + Index(bool(dweight)));

  const Index line = alignment / sizeof(T);
  const Split bias_tasks(dbias ? (s.out + line - 1) / line : 0,
                         std::max<Index>(bias_values / (line * std::max<Index>(s.rows, 1)), 1));
  run<T>(wanted, bias_tasks.count, [&](Index task, int) {
    const Index first = bias_tasks.begin(task) * line;
    const Index end = std::min(bias_tasks.end(task) * line, s.out);
    kernel_table<T>().matmul->column_sums(dy.data + first, s.rows, s.out, dbias.data + first,
                                          end - first);
  });
}

template void linear(View<const float>, View<const float>, View<const float>, View<float>);
template void linear(View<const double>, View<const double>, View<const double>, View<double>);
template void linear_backward(View<const float>, View<const float>, View<const float>, View<float>,
                              View<float>, View<float>);
template void linear_backward(View<const double>, View<const double>, View<const double>,
                              View<double>, View<double>, View<double>);

}  // namespace piste
