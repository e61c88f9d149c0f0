#include <algorithm>

#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/elementwise.h"
#include "ops/plane_sums.h"
#include "piste/conv.h"

namespace piste {
namespace {

constexpr const char* tag = "conv_transpose";

/// The convolution of y that gives x: what lies so far behind its last window that this would see
/// one window more does not take part.
struct Transposed {
  ConvOptions conv;
  Shape part;  // of y, with all that the windows reach
  bool whole = true, empty = false;

  Transposed(const Shape& x, const Shape& weight, const Shape& y, const ConvOptions& options)
      : conv(options), part(y) {
    check(x.rank() == 5 && weight.rank() == 5 && y.rank() == 5, tag,
          "expected 5 dimensions, got input ", x, ", weight ", weight, ", output ", y);
    check(options.groups >= 1 && weight[0] == x[1] && x[1] % options.groups == 0 &&
              weight[1] * options.groups == y[1] && y[0] == x[0],
          tag, "weight ", weight, " does not fit input ", x, " and output ", y, " in ",
          options.groups, " groups");
    for (int axis = 0; axis < 3; ++axis) {
      const Index in = x[axis + 2], out = y[axis + 2], stride = options.stride[axis];
      const Index low = options.pad_low[axis], high = options.pad_high[axis];
      check(stride >= 1 && options.dilation[axis] >= 1 && weight[axis + 2] >= 1 && low >= 0, tag,
            "stride, dilation and kernel must be at least 1 and padding at least 0");
      const Index reach = options.dilation[axis] * (weight[axis + 2] - 1) + 1;
      const Index expected = (in - 1) * stride + reach - low - high;
      check(in >= 1 && expected >= 1 && out == expected, tag, "expected an output of extent ",
            expected, " (at least 1) for an input of ", in, ", got ", out);
      conv.pad_high[axis] = std::max<Index>(high, 0);
      if (-high < stride) continue;
      part[axis + 2] = std::max<Index>(out + high, 0);
      whole = false;
    }
    empty = part.size() == 0 || x.size() == 0;
  }
};

/// Copies the part of each plane that `small` has between two arrays of such planes.
template <class T>
void copy_part(const Shape& small, const T* from, const Shape& from_shape, T* to,
               const Shape& to_shape) {
  const auto at = [](const Shape& s, Index plane, Index d, Index h) {
    return ((plane * s[2] + d) * s[3] + h) * s[4];
  };
  parallel_for(small[0] * small[1], [&](Index plane, int) {
    for (Index d = 0; d < small[2]; ++d)
      for (Index h = 0; h < small[3]; ++h)
        std::copy_n(from + at(from_shape, plane, d, h), small[4], to + at(to_shape, plane, d, h));
  });
}

template <class T>
void add_bias(const View<const T>& bias, const View<T>& y) {
  const Index planes = y.shape[0] * y.shape[1], pixels = y.size() / std::max<Index>(planes, 1);
  const Split split(planes, std::max<Index>(elementwise_grain / pixels, 1));
  parallel_for(split.count, [&](Index task, int) {
    for (Index i = split.begin(task); i < split.end(task); ++i)
      kernel_table<T>().norm->plane_scale_shift(y.data + i * pixels, y.data + i * pixels, pixels,
                                                T(0), T(1), bias.data[i % y.shape[1]],
                                                Stores::cached);
  });
}

}  // namespace

template <class T>
void conv_transpose(View<const T> x, View<const T> weight, View<const T> bias,
                    const ConvOptions& options, View<T> y) {
  const Transposed problem(x.shape, weight.shape, y.shape, options);
  check(!bias || bias.shape == Shape{y.shape[1]}, tag, "bias has shape ", bias.shape, ", expected ",
        Shape{y.shape[1]});
  if (y.size() == 0) return;
  if (!problem.whole || problem.empty) std::fill_n(y.data, y.size(), T(0));
  if (!problem.empty) {
    const Workspace workspace(problem.whole ? 0 : problem.part.size() * sizeof(T));
    const View<T> part{problem.whole ? y.data : workspace.as<T>(), problem.part};
    conv_backward<T>(x, {nullptr, problem.part}, weight, problem.conv, part, {}, {});
    if (!problem.whole) copy_part(problem.part, part.data, problem.part, y.data, y.shape);
  }
  if (bias) add_bias(bias, y);
}

template <class T>
void conv_transpose_backward(View<const T> dy, View<const T> x, View<const T> weight,
                             const ConvOptions& options, View<T> dx, View<T> dweight,
                             View<T> dbias) {
  const Transposed problem(x.shape, weight.shape, dy.shape, options);
  check(!dx || dx.shape == x.shape, tag, "grad_input has shape ", dx.shape, ", expected ", x.shape);
  check(!dweight || dweight.shape == weight.shape, tag, "grad_weight has shape ", dweight.shape,
        ", expected ", weight.shape);
  check(!dbias || dbias.shape == Shape{dy.shape[1]}, tag, "grad_bias has shape ", dbias.shape,
        ", expected ", Shape{dy.shape[1]});
  if (dbias) sum_planes(dy, dbias);
  if (problem.empty) {
    if (dx) std::fill_n(dx.data, dx.size(), T(0));
    if (dweight) std::fill_n(dweight.data, dweight.size(), T(0));
    return;
  }
  const Workspace workspace(problem.whole ? 0 : problem.part.size() * sizeof(T));
  View<const T> part = dy;
  if (!problem.whole) {
    copy_part(problem.part, dy.data, dy.shape, workspace.as<T>(), problem.part);
    part = {workspace.as<T>(), problem.part};
  }
  if (dx) conv<T>(part, weight, {}, problem.conv, dx);
  if (dweight) conv_backward<T>(x, part, weight, problem.conv, {}, dweight, {});
}

template void conv_transpose(View<const float>, View<const float>, View<const float>,
                             const ConvOptions&, View<float>);
template void conv_transpose(View<const double>, View<const double>, View<const double>,
                             const ConvOptions&, View<double>);
template void conv_transpose_backward(View<const float>, View<const float>, View<const float>,
                                      const ConvOptions&, View<float>, View<float>, View<float>);
template void conv_transpose_backward(View<const double>, View<const double>, View<const double>,
                                      const ConvOptions&, View<double>, View<double>, View<double>);

}  // namespace piste
