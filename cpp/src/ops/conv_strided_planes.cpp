#include "ops/conv_strided_planes.h"

#include <algorithm>

#include "base/parallel.h"
#include "dispatch/dispatch.h"

namespace piste {
namespace {

constexpr Index task_flops = 1 << 18;  // at least so much work per task
// By measurement: with more taps the copy pays, as every value is read several times; shorter rows
// are mostly borders, or fill no vector.
constexpr Index most_taps = 9, least_vectors = 2, least_outputs = 16;

/// Outputs [first, end) of a row have all their taps within the row of inputs.
struct Inside {
  Index first, end;
  explicit Inside(const ConvGeometry& g) {
    const Index stride = g.stride[2], reach = g.dilation[2] * (g.kernel[2] - 1);
    const Index last = g.in[2] + g.pad[2] - reach - 1;  // from where the last one may begin
    first = std::min((g.pad[2] + stride - 1) / stride, g.out[2]);
    end = std::clamp<Index>(last < 0 ? 0 : last / stride + 1, first, g.out[2]);
  }
};

}  // namespace

bool takes_strided_planes(const ConvGeometry& g, Index lanes) {
  const bool strided = g.stride[0] > 1 || g.stride[1] > 1 || g.stride[2] > 1;
  const Inside inside(g);
  return strided && g.channels == g.groups && g.filters == g.groups && g.taps() <= most_taps &&
         inside.end - inside.first >= std::min(least_vectors * lanes, least_outputs);
}

template <class T>
void conv_strided_planes(const ConvGeometry& g, Index n, const T* x, const T* weight, const T* bias,
                         T* y) {
  const Inside inside(g);
  kernels::DepthwisePlane<T> all{};
  for (int axis = 0; axis < 3; ++axis) {
    all.in[axis] = g.in[axis];
    all.out[axis] = g.out[axis];
    all.kernel[axis] = g.kernel[axis];
    all.stride[axis] = g.stride[axis];
    all.dilation[axis] = g.dilation[axis];
    all.pad[axis] = g.pad[axis];
  }
  all.first = inside.first;
  all.end = inside.end;
  const Split split(n * g.channels, task_flops / (2 * g.out_pixels() * g.taps()) + 1);
  parallel_for(split.count, [&](Index task, int) {
    kernels::DepthwisePlane<T> plane = all;
    for (Index i = split.begin(task); i < split.end(task); ++i) {
      const Index channel = i % g.channels;
      plane.x = x + i * g.in_pixels();
      plane.weights = weight + channel * g.taps();
      plane.bias = bias ? bias[channel] : T(0);
      plane.y = y + i * g.out_pixels();
      kernel_table<T>().depthwise->plane(plane);
    }
  });
}

template void conv_strided_planes(const ConvGeometry&, Index, const float*, const float*,
                                  const float*, float*);
template void conv_strided_planes(const ConvGeometry&, Index, const double*, const double*,
                                  const double*, double*);

}  // namespace piste
