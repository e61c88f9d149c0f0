#pragma once
// Normalising runs of contiguous values, shared by layer norm and group norm.

#include <algorithm>
#include <array>
#include <cmath>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/batch_stats.h"
#include "ops/elementwise.h"

namespace piste {

inline constexpr Index norm_task_values = 1 << 15;  // at least so many values per task

/// A run of n values in parts that fit the first-level cache, for two passes over each.
struct RunParts : Split {
  static constexpr Index most = 256;
  explicit RunParts(Index values) : Split(values, 1 << 12, most) {}
  Index size(Index part) const { return end(part) - begin(part); }
  /// body(part), in parallel where the caller is not.
  template <class Body>
  void for_each(Body&& body) const {
    if (count == 1) return body(Index{0});
    parallel_for(count, [&](Index part, int) { body(part); });
  }
};

template <class T>
struct RunMoments {
  T mean = 0, var = 0;  // biased

  RunMoments(const T* x, Index n) {
    const RunParts parts(n);
    std::array<T, RunParts::most> means, m2s;
    parts.for_each([&](Index i) {
      kernel_table<T>().norm->plane_moments(x + parts.begin(i), parts.size(i), &means[i], &m2s[i]);
    });
    if (n == 0) return;
    for (Index i = 1; i < parts.count; ++i)
      combine_moments(parts.begin(i), &means[0], &m2s[0], parts.size(i), &means[i], &m2s[i], 1);
    mean = means[0];
    var = m2s[0] / static_cast<T>(n);
  }

  T inverse_std(double eps) const { return T(1) / std::sqrt(var + static_cast<T>(eps)); }
};

/// Runs body(run, task) for all runs of n values: in parallel over tasks of several runs, or one
/// run after the other (as task 0) where they are long and fewer than `few`: then a run is better
/// cut itself.
struct RunTasks {
  Split split;
  bool serial;
  RunTasks(Index runs, Index n, Index most_tasks, Index few = 8)
      : split(even_split(runs, std::max<Index>(norm_task_values / std::max<Index>(n, 1), 1),
                         most_tasks)),
        serial(runs < few && n >= 2 * norm_task_values) {}
  Index count() const { return serial ? 1 : split.count; }
  template <class Body>
  void operator()(Body&& body) const {
    if (serial) {
      for (Index run = 0; run < split.n; ++run) body(run, Index{0});
      return;
    }
    parallel_for(split.count, [&](Index task, int) {
      for (Index run = split.begin(task); run < split.end(task); ++run) body(run, task);
    });
  }
};

/// Runs of n values, each value of a run with a weight and a bias of its own (both given or
/// neither); `periods` runs have different ones, n each, and then they come again.
template <class T>
struct RowNorm {
  Index rows, n, periods;
  double eps;
  const T *weight, *bias;

  /// means and vars: one per row, or null.
  void forward(const T* x, T* y, T* means, T* vars) const;
  /// dweight and dbias: periods * n values.
  void backward(const T* dy, const T* x, T* dx, T* dweight, T* dbias) const;
};

/// weight and bias as RowNorm takes them: each value `repeats` times, 1 and 0 for what is missing,
/// null where both are.
template <class T>
class Affine {
 public:
  Affine(const T* weight, const T* bias, bool any, Index n, Index repeats)
      : memory_(any ? 2 * n * repeats * sizeof(T) : 0) {
    if (!any) return;
    weight_ = memory_.template as<T>();
    bias_ = weight_ + n * repeats;
    for (Index i = 0; i < n; ++i) {
      std::fill_n(weight_ + i * repeats, repeats, weight ? weight[i] : T(1));
      std::fill_n(bias_ + i * repeats, repeats, bias ? bias[i] : T(0));
    }
  }
  const T* weight() const { return weight_; }
  const T* bias() const { return bias_; }

 private:
  Workspace memory_;
  T *weight_ = nullptr, *bias_ = nullptr;
};

extern template struct RowNorm<float>;
extern template struct RowNorm<double>;

}  // namespace piste
