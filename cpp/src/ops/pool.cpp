#include "piste/pool.h"

#include <algorithm>
#include <limits>

#include "ops/elementwise.h"
#include "ops/pool_planes.h"

namespace piste {
namespace {

PoolProblem windows(const char* tag, const Shape& x, const Shape& y, const PoolWindow& w,
                    bool count_include_pad) {
  PoolProblem p(tag, x, y);
  for (int axis = 0; axis < 3; ++axis) {
    const Index expected = pool_extent(p.in[axis], w.kernel[axis], w.stride[axis], w.padding[axis],
                                       w.dilation[axis], w.ceil_mode);
    check(p.out[axis] == expected, tag, "output: expected extent ", expected, ", got shape ", y);
    p.spans[axis] = window_spans(p.in[axis], p.out[axis], w.kernel[axis], w.stride[axis],
                                 w.padding[axis], w.dilation[axis], count_include_pad);
  }
  return p;
}

PoolProblem parts(const char* tag, const Shape& x, const Shape& y) {
  PoolProblem p(tag, x, y);
  for (int axis = 0; axis < 3; ++axis) p.spans[axis] = adaptive_spans(p.in[axis], p.out[axis]);
  return p;
}

template <class T>
void run_max(const PoolProblem& problem, View<const T> x, View<T> y, View<Index> indices) {
  check(!indices || indices.shape == y.shape, "max_pool", "indices: expected shape ", y.shape,
        ", got ", indices.shape);
  const PoolPlanes<T> planes(problem, false, bool(indices));
  planes.for_each([&](const auto& block) {
    planes.gather_x(block, x.data);
    kernel_table<T>().pool->max_forward(block.geometry, block.x, block.y,
                                        indices ? block.argmax : nullptr);
    planes.scatter_y(block, y.data);
    if (indices) planes.scatter_indices(block, indices.data);
  });
}

template <class T>
void run_max_backward(const PoolProblem& problem, View<const T> dy, View<const T> x, View<T> dx) {
  check(dx.shape == x.shape, "max_pool", "grad_input: expected shape ", x.shape, ", got ",
        dx.shape);
  const PoolPlanes<T> planes(problem, true, true);
  planes.for_each([&](const auto& block) {
    const auto& kernels = *kernel_table<T>().pool;
    planes.gather_x(block, x.data);
    kernels.max_forward(block.geometry, block.x, block.y, block.argmax);
    // Its rows serve as those of dy and dx once the maxima are found.
    planes.gather_y(block, dy.data);
    kernels.max_backward(block.geometry, block.y, block.argmax, block.x);
    planes.scatter_x(block, dx.data);
  });
}

/// Whether volumes are one row each that the kernel for rows takes: what makes channels worth
/// transposing, several rows to a window, isn't there.
bool is_row(const PoolProblem& problem, const PoolWindow& window, Index lanes, PoolRow& row) {
  if (problem.in[0] * problem.in[1] * problem.out[0] * problem.out[1] != 1) return false;
  const PoolSpan &depth = problem.spans[0][0], &height = problem.spans[1][0];
  if (depth.count * height.count != 1) return false;  // only padding
  if (window.dilation[2] != 1 || window.stride[2] > 2) return false;
  const std::vector<PoolSpan>& spans = problem.spans[2];
  const auto whole = [&](const PoolSpan& s) { return s.count == window.kernel[2]; };
  const auto first = std::find_if(spans.begin(), spans.end(), whole);
  const auto end = std::find_if_not(first, spans.end(), whole);
  row = {spans.data(),
         problem.out[2],
         window.kernel[2],
         window.stride[2],
         first - spans.begin(),
         end - spans.begin(),
         depth.divisor * height.divisor};
  return row.end - row.first >= lanes;
}

/// pool(x, y) of each row.
template <class T, class Pool>
void for_each_row(const PoolProblem& problem, View<const T> x, View<T> y, Pool&& pool) {
  const Index in = problem.in_pixels(), out = problem.out_pixels();
  const Split split = even_split(problem.volumes, std::max<Index>(elementwise_grain / in, 1));
  parallel_for(split.count, [&](Index task, int) {
    for (Index i = split.begin(task); i < split.end(task); ++i)
      pool(x.data + i * in, y.data + i * out);
  });
}

/// One mean per volume needs no windows.
template <class T>
void run_global_avg(const PoolProblem& problem, View<const T> x, View<T> y, T divisor) {
  const Index pixels = problem.in_pixels();
  const Split split = even_split(problem.volumes, std::max<Index>(elementwise_grain / pixels, 1));
  parallel_for(split.count, [&](Index task, int) {
    for (Index i = split.begin(task); i < split.end(task); ++i)
      y.data[i] = kernel_table<T>().planes->sum(x.data + i * pixels, pixels) / divisor;
  });
}

template <class T>
void run_global_avg_backward(const PoolProblem& problem, View<const T> dy, View<T> dx, T divisor) {
  const Index pixels = problem.in_pixels();
  const Split split = even_split(problem.volumes, std::max<Index>(elementwise_grain / pixels, 1));
  parallel_for(split.count, [&](Index task, int) {
    for (Index i = split.begin(task); i < split.end(task); ++i)
      std::fill_n(dx.data + i * pixels, pixels, dy.data[i] / divisor);
  });
}

template <class T>
T global_divisor(const PoolProblem& problem, Index divisor_override) {
  Index divisor = divisor_override;
  if (!divisor)
    divisor =
        problem.spans[0][0].divisor * problem.spans[1][0].divisor * problem.spans[2][0].divisor;
  return static_cast<T>(divisor);
}

template <class T>
void run_avg(const PoolProblem& problem, View<const T> x, View<T> y, Index divisor_override) {
  if (problem.global())
    return run_global_avg(problem, x, y, global_divisor<T>(problem, divisor_override));
  const PoolPlanes<T> planes(problem, false, false);
  planes.for_each([&](const auto& block) {
    planes.gather_x(block, x.data);
    kernel_table<T>().pool->avg_forward(block.geometry, block.x, block.y, divisor_override);
    planes.scatter_y(block, y.data);
  });
}

template <class T>
void run_avg_backward(const PoolProblem& problem, View<const T> dy, View<T> dx,
                      Index divisor_override) {
  if (problem.global())
    return run_global_avg_backward(problem, dy, dx, global_divisor<T>(problem, divisor_override));
  const PoolPlanes<T> planes(problem, true, false);
  planes.for_each([&](const auto& block) {
    planes.gather_y(block, dy.data);
    kernel_table<T>().pool->avg_backward(block.geometry, block.y, block.x, divisor_override);
    planes.scatter_x(block, dx.data);
  });
}

void check_avg(const PoolWindow& window) {
  check(window.dilation == std::array<Index, 3>{1, 1, 1}, "avg_pool",
        "dilation: average pooling has none");
}

}  // namespace

Index pool_extent(Index in, Index kernel, Index stride, Index padding, Index dilation,
                  bool ceil_mode) {
  constexpr const char* tag = "pool";
  constexpr Index most = std::numeric_limits<std::int32_t>::max();
  check(in >= 0 && in <= most, tag, "input: extent ", in, " is out of range");
  check(kernel >= 1 && kernel <= most, tag, "kernel_size: must be at least 1, got ", kernel);
  check(stride >= 1 && stride <= most, tag, "stride: must be at least 1, got ", stride);
  check(dilation >= 1 && dilation <= most, tag, "dilation: must be at least 1, got ", dilation);
  const Index reach = dilation * (kernel - 1) + 1;
  check(padding >= 0 && padding <= kernel / 2, tag, "padding: expected 0 to ", kernel / 2,
        ", half of kernel_size, got ", padding);
  const Index room = in + 2 * padding - reach;
  // With ceil_mode a window may stick out at the end, but must start before it.
  Index count = room < 0 ? 0 : room / stride + 1;
  if (ceil_mode && room > -stride) {
    count = (room + stride - 1) / stride + 1;
    if ((count - 1) * stride >= in + padding) --count;
  }
  check(count >= 1, tag, "the window of ", reach, " pixels is larger than the input of ", in,
        " pixels with padding ", padding, " on both sides");
  return count;
}

template <class T>
void max_pool(View<const T> x, View<T> y, View<Index> indices, const PoolWindow& window) {
  const PoolProblem problem = windows("max_pool", x.shape, y.shape, window, false);
  PoolRow row;
  if (!indices && is_row(problem, window, kernel_table<T>().lanes, row))
    return for_each_row(problem, x, y, [&](const T* from, T* to) {
      kernel_table<T>().pool->max_row(row, from, to);
    });
  run_max(problem, x, y, indices);
}

template <class T>
void max_pool_backward(View<const T> dy, View<const T> x, View<T> dx, const PoolWindow& window) {
  run_max_backward(windows("max_pool", x.shape, dy.shape, window, false), dy, x, dx);
}

template <class T>
void avg_pool(View<const T> x, View<T> y, const PoolWindow& window, bool count_include_pad,
              Index divisor_override) {
  check_avg(window);
  const PoolProblem problem = windows("avg_pool", x.shape, y.shape, window, count_include_pad);
  PoolRow row;
  if (is_row(problem, window, kernel_table<T>().lanes, row))
    return for_each_row(problem, x, y, [&](const T* from, T* to) {
      kernel_table<T>().pool->avg_row(row, from, to, divisor_override);
    });
  run_avg(problem, x, y, divisor_override);
}

template <class T>
void avg_pool_backward(View<const T> dy, View<T> dx, const PoolWindow& window,
                       bool count_include_pad, Index divisor_override) {
  check_avg(window);
  run_avg_backward(windows("avg_pool", dx.shape, dy.shape, window, count_include_pad), dy, dx,
                   divisor_override);
}

template <class T>
void adaptive_avg_pool(View<const T> x, View<T> y) {
  run_avg(parts("adaptive_avg_pool", x.shape, y.shape), x, y, 0);
}

template <class T>
void adaptive_avg_pool_backward(View<const T> dy, View<T> dx) {
  run_avg_backward(parts("adaptive_avg_pool", dx.shape, dy.shape), dy, dx, 0);
}

template <class T>
void adaptive_max_pool(View<const T> x, View<T> y, View<Index> indices) {
  run_max(parts("adaptive_max_pool", x.shape, y.shape), x, y, indices);
}

template <class T>
void adaptive_max_pool_backward(View<const T> dy, View<const T> x, View<T> dx) {
  run_max_backward(parts("adaptive_max_pool", x.shape, dy.shape), dy, x, dx);
}

template void max_pool(View<const float>, View<float>, View<Index>, const PoolWindow&);
template void max_pool_backward(View<const float>, View<const float>, View<float>,
                                const PoolWindow&);
template void avg_pool(View<const float>, View<float>, const PoolWindow&, bool, Index);
template void avg_pool_backward(View<const float>, View<float>, const PoolWindow&, bool, Index);
template void adaptive_avg_pool(View<const float>, View<float>);
template void adaptive_avg_pool_backward(View<const float>, View<float>);
template void adaptive_max_pool(View<const float>, View<float>, View<Index>);
template void adaptive_max_pool_backward(View<const float>, View<const float>, View<float>);

template void max_pool(View<const double>, View<double>, View<Index>, const PoolWindow&);
template void max_pool_backward(View<const double>, View<const double>, View<double>,
                                const PoolWindow&);
template void avg_pool(View<const double>, View<double>, const PoolWindow&, bool, Index);
template void avg_pool_backward(View<const double>, View<double>, const PoolWindow&, bool, Index);
template void adaptive_avg_pool(View<const double>, View<double>);
template void adaptive_avg_pool_backward(View<const double>, View<double>);
template void adaptive_max_pool(View<const double>, View<double>, View<Index>);
template void adaptive_max_pool_backward(View<const double>, View<const double>, View<double>);

}  // namespace piste
