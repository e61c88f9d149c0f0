#include <algorithm>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "piste/norm.h"

namespace piste {
namespace {

constexpr const char* tag = "local_response_norm";

/// Blocks of pixels of all samples: block i is that many pixels of every channel.
struct Blocks {
  kernels::ResponseGeometry geometry;
  Index per_sample, count;

  Blocks(const Shape& x, const Shape& other, const ResponseNormOptions& options) {
    check(x.rank() == 3, tag, "expected (n, channels, pixels), got ", x);
    check(other == x, tag, "expected an output of ", x, ", got ", other);
    check(options.size >= 1, tag, "size must be at least 1, got ", options.size);
    const Index before = options.size / 2;
    geometry = {x[1], x[2], 0, before, options.size - 1 - before};
    per_sample = (x[2] + kernels::response_block - 1) / kernels::response_block;
    count = x[1] ? x[0] * per_sample : 0;
  }

  /// body(geometry of the block, its first value, worker)
  template <class Body>
  void for_each(Body&& body) const {
    parallel_for(count, [&](Index i, int worker) {
      kernels::ResponseGeometry g = geometry;
      const Index first = i % per_sample * kernels::response_block;
      g.pixels = std::min(kernels::response_block, g.plane - first);
      body(g, i / per_sample * g.channels * g.plane + first, worker);
    });
  }
};

}  // namespace

template <class T>
void local_response_norm(View<const T> x, const ResponseNormOptions& options, View<T> y) {
  const T alpha = static_cast<T>(options.alpha / static_cast<double>(options.size));
  const T beta = static_cast<T>(options.beta), k = static_cast<T>(options.k);
  Blocks(x.shape, y.shape, options).for_each([&](const auto& g, Index first, int) {
    kernel_table<T>().response->forward(g, alpha, beta, k, x.data + first, y.data + first);
  });
}

template <class T>
void local_response_norm_backward(View<const T> dy, View<const T> x,
                                  const ResponseNormOptions& options, View<T> dx) {
  check(dy.shape == x.shape, tag, "expected a gradient of ", x.shape, ", got ", dy.shape);
  const T alpha = static_cast<T>(options.alpha / static_cast<double>(options.size));
  const T beta = static_cast<T>(options.beta), k = static_cast<T>(options.k);
  const Blocks blocks(x.shape, dx.shape, options);
  const Index scratch = 2 * blocks.geometry.channels * kernels::response_block;
  const Workspace workspace(parallel_workers(blocks.count) * scratch * sizeof(T));
  blocks.for_each([&](const auto& g, Index first, int worker) {
    kernel_table<T>().response->backward(g, alpha, beta, k, dy.data + first, x.data + first,
                                         dx.data + first, workspace.as<T>() + worker * scratch);
  });
}

template void local_response_norm(View<const float>, const ResponseNormOptions&, View<float>);
template void local_response_norm(View<const double>, const ResponseNormOptions&, View<double>);
template void local_response_norm_backward(View<const float>, View<const float>,
                                           const ResponseNormOptions&, View<float>);
template void local_response_norm_backward(View<const double>, View<const double>,
                                           const ResponseNormOptions&, View<double>);

}  // namespace piste
