#include "ops/row_norm.h"

#include <vector>

namespace piste {

// Rows are too short for streamed stores: between two rows' come the passes for the moments.
template <class T>
void RowNorm<T>::forward(const T* x, T* y, T* means, T* vars) const {
  const auto& kernels = *kernel_table<T>().norm;
  const RunParts parts(n);
  RunTasks(rows, n, 1 << 12)([&](Index row, Index) {
    const T* from = x + row * n;
    T* to = y + row * n;
    const RunMoments<T> moments(from, n);
    const T inverse = moments.inverse_std(eps);
    if (means) means[row] = moments.mean;
    if (vars) vars[row] = moments.var;
    parts.for_each([&](Index i) {
      const Index at = parts.begin(i), own = row % periods * n + at;
      if (weight)
        kernels.row_scale_shift(from + at, to + at, parts.size(i), moments.mean, inverse,
                                weight + own, bias + own);
      else
        kernels.plane_scale_shift(from + at, to + at, parts.size(i), moments.mean, inverse, T(0),
                                  Stores::cached);
    });
  });
}

// With z = (x - mean) / std and g = dy * weight: dx = (g - mean(g) - z * mean(g * z)) / std. Each
// task sums dweight and dbias for its rows; the sums are added in the tasks' order.
template <class T>
void RowNorm<T>::backward(const T* dy, const T* x, T* dx, T* dweight, T* dbias) const {
  constexpr Index most_tasks = 16;
  const auto& kernels = *kernel_table<T>().norm;
  const RunParts parts(n);
  // Sums of long rows are better shared than kept per task.
  const RunTasks tasks(rows, n, most_tasks, weight ? rows + 1 : 8);
  const Index values = periods * n;
  const Workspace workspace(weight ? 2 * tasks.count() * values * sizeof(T) : 0);
  T* sums = workspace.as<T>();
  if (weight) std::fill_n(sums, 2 * tasks.count() * values, T(0));
  tasks([&](Index row, Index task) {
    const T *x_row = x + row * n, *dy_row = dy + row * n;
    T* dx_row = dx + row * n;
    const RunMoments<T> moments(x_row, n);
    const T mean = moments.mean, inverse = moments.inverse_std(eps);
    const Index own = row % periods * n;
    T *dweights = sums + 2 * task * values + own, *dbiases = dweights + values;
    std::array<T, RunParts::most> part_sums{}, part_sums_x{};
    parts.for_each([&](Index i) {
      const Index at = parts.begin(i), count = parts.size(i);
      if (!weight)
        return kernels.plane_backward_sums(dy_row + at, x_row + at, count, mean, &part_sums[i],
                                           &part_sums_x[i]);
      kernels.row_backward_sums(dy_row + at, x_row + at, weight + own + at, count, mean,
                                &part_sums[i], &part_sums_x[i]);
      kernels.row_gradients(dy_row + at, x_row + at, count, mean, inverse, dweights + at,
                            dbiases + at);
    });
    T sum = 0, sum_x = 0;
    for (Index i = 0; i < parts.count; ++i) sum += part_sums[i], sum_x += part_sums_x[i];
    // A single value is its own mean: nothing moves it, rounding left aside.
    const T scale = n == 1 ? T(0) : inverse;
    const T slope = -scale * inverse * inverse * sum_x / static_cast<T>(n);
    const T shift = -scale * sum / static_cast<T>(n);
    parts.for_each([&](Index i) {
      const Index at = parts.begin(i), count = parts.size(i);
      if (weight)
        kernels.row_backward_apply(dy_row + at, x_row + at, weight + own + at, dx_row + at, count,
                                   mean, scale, slope, shift);
      else
        kernels.plane_backward_apply(dy_row + at, x_row + at, dx_row + at, count, mean, scale,
                                     slope, shift, Stores::cached);
    });
  });
  if (!weight) return;
  if (rows == 0) {
    if (dweight) std::fill_n(dweight, values, T(0));
    if (dbias) std::fill_n(dbias, values, T(0));
    return;
  }
  std::vector<const T*> parts_of_sums;
  for (Index task = 0; task < tasks.count(); ++task)
    parts_of_sums.push_back(sums + 2 * task * values);
  const auto sum_tasks = [&](Index offset, T* to) {
    kernel_table<T>().gemm->sum(parts_of_sums.data(), tasks.count(), offset, to, values);
  };
  if (dweight) sum_tasks(0, dweight);
  if (dbias) sum_tasks(values, dbias);
}

template struct RowNorm<float>;
template struct RowNorm<double>;

}  // namespace piste
