#pragma once

#include "base/parallel.h"
#include "dispatch/dispatch.h"
#include "piste/tensor.h"

namespace piste {

/// dbias[k] = sum over samples and pixels of dy, which is (n, filters, depth, height, width).
template <class T>
void sum_planes(const View<const T>& dy, const View<T>& dbias) {
  const Index n = dy.shape[0], filters = dy.shape[1];
  const Index pixels = dy.shape[2] * dy.shape[3] * dy.shape[4];
  const Split split(filters, (1 << 16) / (n * pixels + 1) + 1);
  parallel_for(split.count, [&](Index task, int) {
    for (Index k = split.begin(task); k < split.end(task); ++k) {
      T sum = 0;
      for (Index i = 0; i < n; ++i)
        sum += kernel_table<T>().planes->sum(dy.data + (i * filters + k) * pixels, pixels);
      dbias.data[k] = sum;
    }
  });
}

}  // namespace piste
