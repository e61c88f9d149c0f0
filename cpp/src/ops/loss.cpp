// Losses of single values.

#include "piste/loss.h"

#include <vector>

#include "dispatch/dispatch.h"
#include "ops/elementwise.h"

namespace piste {
namespace {

constexpr const char* tag = "loss";

/// The kernel's call for all values; what it is to compute is still null.
template <class T>
PointwiseLossCall<T> checked_call(const PointwiseLossInput<T>& loss) {
  check_same_shape(tag, "target", loss.target, "input", loss.input);
  if (loss.extra) check_same_shape(tag, "extra", loss.extra, "input", loss.input);
  if (loss.weight) check_same_shape(tag, "weight", loss.weight, "input", loss.input);
  PointwiseLossCall<T> call{};
  call.kind = loss.kind;
  call.a = loss.a;
  call.b = loss.b;
  call.x = loss.input.data;
  call.t = loss.target.data;
  call.extra = loss.extra.data;
  call.weight = loss.weight.data;
  call.scale = 1;
  call.n = loss.input.size();
  return call;
}

/// The call for the values [first, first + n).
template <class T>
PointwiseLossCall<T> part_of(PointwiseLossCall<T> call, Index first, Index n) {
  for (const T** p : {&call.x, &call.t, &call.extra, &call.weight, &call.grad})
    if (*p) *p += first;
  for (T** p : {&call.loss, &call.dx, &call.dt, &call.dextra})
    if (*p) *p += first;
  call.n = n;
  return call;
}

}  // namespace

template <class T>
double pointwise_loss(const PointwiseLossInput<T>& loss, View<T> losses) {
  PointwiseLossCall<T> all = checked_call(loss);
  if (losses) check_same_shape(tag, "losses", losses, "input", loss.input);
  all.loss = losses.data;
  const auto& kernels = *kernel_table<T>().loss;
  const Split split = even_split(all.n, elementwise_grain);
  std::vector<double> sums(static_cast<std::size_t>(split.count));
  parallel_for(split.count, [&](Index i, int) {
    auto call = part_of(all, split.begin(i), split.end(i) - split.begin(i));
    call.sum = &sums[static_cast<std::size_t>(i)];
    kernels.pointwise(call);
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

template <class T>
void pointwise_loss_backward(const PointwiseLossInput<T>& loss, View<const T> grad, T scale,
                             View<T> dinput, View<T> dtarget, View<T> dextra) {
  PointwiseLossCall<T> all = checked_call(loss);
  if (grad) check_same_shape(tag, "grad_output", grad, "input", loss.input);
  for (const View<T>& d : {dinput, dtarget, dextra})
    if (d) check_same_shape(tag, "a gradient", d, "input", loss.input);
  all.grad = grad.data;
  all.scale = scale;
  all.dx = dinput.data;
  all.dt = dtarget.data;
  all.dextra = dextra.data;
  const auto& kernels = *kernel_table<T>().loss;
  for_each_part(all.n, [&](Index first, Index n) { kernels.pointwise(part_of(all, first, n)); });
}

template double pointwise_loss(const PointwiseLossInput<float>&, View<float>);
template double pointwise_loss(const PointwiseLossInput<double>&, View<double>);
template void pointwise_loss_backward(const PointwiseLossInput<float>&, View<const float>, float,
                                      View<float>, View<float>, View<float>);
template void pointwise_loss_backward(const PointwiseLossInput<double>&, View<const double>, double,
                                      View<double>, View<double>, View<double>);

}  // namespace piste
