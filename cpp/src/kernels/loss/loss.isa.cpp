#include "kernels/loss/loss.h"

#include "kernels/loss/pointwise.h"
#include "kernels/softmax/row.h"

namespace piste::PISTE_ISA {
namespace {

/// As many doubles as a Vec<T> has lanes.
template <class T>
struct WideDoubles;
template <>
struct WideDoubles<float> {
  typedef double Vector __attribute__((vector_size(2 * PISTE_VECTOR_BYTES)));
};
template <>
struct WideDoubles<double> {
  typedef double Vector __attribute__((vector_size(PISTE_VECTOR_BYTES)));
};

template <class T, class F>
void run(const F& f, const PointwiseLossCall<T>& call) {
  using V = Vec<T>;
  using Wide = typename WideDoubles<T>::Vector;
  constexpr int lanes = V::lanes;
  const V one(T(1)), scale(call.scale);
  const bool want_loss = call.sum || call.loss, want_slopes = call.dx || call.dt || call.dextra;
  Wide sum{};
  for (Index i = 0; i < call.n; i += lanes) {
    const int count = static_cast<int>(call.n - i < lanes ? call.n - i : lanes);
    const bool whole = count == lanes;
    const auto load = [=](const T* from) {
      if (!from) return one;
      return whole ? V::load(from + i) : V::load_partial(from + i, count);
    };
    const auto store = [=](V v, T* to) {
      if (!to) return;
      if (whole)
        v.store(to + i);
      else
        v.store_partial(to + i, count);
    };
    const V x = load(call.x), t = load(call.t), e = load(call.extra), w = load(call.weight);
    if (want_loss) {
      V loss = w * f.loss(x, t, e);
      for (int lane = count; lane < lanes; ++lane) loss.v[lane] = 0;
      sum += __builtin_convertvector(loss.v, Wide);
      store(loss, call.loss);
    }
    if (want_slopes) {
      const Slopes<T> slopes = f.slopes(x, t, e);
      const V factor = scale * load(call.grad) * w;
      store(factor * slopes.x, call.dx);
      store(factor * slopes.t, call.dt);
      store(factor * slopes.e, call.dextra);
    }
  }
  if (!call.sum) return;
  double total = 0;
  for (int lane = 0; lane < lanes; ++lane) total += sum[lane];
  *call.sum = total;
}

template <class T>
void pointwise(const PointwiseLossCall<T>& call) {
  const Vec<T> a(call.a), b(call.b);
  const Stirling<T> stirling{call.b != 0};
  switch (call.kind) {
    case PointwiseLoss::squared:
      return run(Squared<T>{}, call);
    case PointwiseLoss::absolute:
      return run(Absolute<T>{}, call);
    case PointwiseLoss::smooth_l1:
      return run(SmoothL1<T>{a}, call);
    case PointwiseLoss::huber:
      return run(Huber<T>{a}, call);
    case PointwiseLoss::bce:
      return run(Bce<T>{}, call);
    case PointwiseLoss::bce_with_logits:
      return run(BceWithLogits<T>{}, call);
    case PointwiseLoss::kl_div:
      return run(KlDiv<T>{}, call);
    case PointwiseLoss::kl_div_log_target:
      return run(KlDivLogTarget<T>{}, call);
    case PointwiseLoss::poisson_nll:
      return run(PoissonNll<T>{a, stirling}, call);
    case PointwiseLoss::poisson_nll_log_input:
      return run(PoissonNllLogInput<T>{stirling}, call);
    case PointwiseLoss::gaussian_nll:
      return run(GaussianNll<T>{a, b}, call);
    case PointwiseLoss::hinge_embedding:
      return run(HingeEmbedding<T>{a}, call);
    case PointwiseLoss::soft_margin:
      return run(SoftMargin<T>{}, call);
  }
}

/// Loss and gradients of one row whose targets q(class) are given by a function. dt gets
/// scale * share * the derivative by q.
template <class T, class Target>
double row_loss(const T* logits, Index classes, const T* class_weight, Target q, T* dx, T* dt,
                T scale, T share) {
  const T largest = row_max(logits, classes);
  const T sum = exp_sum(logits, classes, largest, dx);
  const T log_sum = log(Vec<T>(sum)).v[0];
  double loss = 0;
  T total = 0;  // of all weighted targets: what multiplies the softmax in the gradient
  for (Index c = 0; c < classes; ++c) {
    const T w = class_weight ? class_weight[c] : T(1), target = q(c) * w;
    const double surprise = double(log_sum) - double(logits[c] - largest);
    if (target != 0) loss += double(target) * surprise;
    if (dt) dt[c] = scale * share * w * static_cast<T>(surprise);
    total += target;
  }
  if (dx) {
    const Vec<T> factor(scale * total / sum);
    for_row(dx, classes, T(0),
            [&](Vec<T> e, Index i, int count) { (e * factor).store_partial(dx + i, count); });
    for (Index c = 0; c < classes; ++c)
      dx[c] -= scale * q(c) * (class_weight ? class_weight[c] : T(1));
  }
  return loss;
}

template <class T>
double cross_entropy(const T* logits, Index classes, Index label, const T* class_weight,
                     T smoothing, T* dx, T scale) {
  if (smoothing != 0) {
    const T rest = smoothing / static_cast<T>(classes);
    return row_loss(
        logits, classes, class_weight,
        [=](Index c) { return (c == label ? 1 - smoothing : T(0)) + rest; }, dx,
        static_cast<T*>(nullptr), scale, T(1));
  }
  const T largest = row_max(logits, classes), w = class_weight ? class_weight[label] : T(1);
  const T sum = exp_sum(logits, classes, largest, dx);
  if (dx) {
    const Vec<T> factor(scale * w / sum);
    for_row(dx, classes, T(0),
            [&](Vec<T> e, Index i, int count) { (e * factor).store_partial(dx + i, count); });
    dx[label] -= scale * w;
  }
  return double(w) * (double(log(Vec<T>(sum)).v[0]) - double(logits[label] - largest));
}

template <class T>
double cross_entropy_probabilities(const T* logits, Index classes, const T* target,
                                   const T* class_weight, T smoothing, T* dx, T* dt, T scale) {
  const T rest = smoothing / static_cast<T>(classes);
  return row_loss(
      logits, classes, class_weight, [=](Index c) { return (1 - smoothing) * target[c] + rest; },
      dx, dt, scale, 1 - smoothing);
}

template <class T>
double multi_margin(const T* x, Index classes, Index label, int p, T margin, T* dx, T scale) {
  using V = Vec<T>;
  const V zero = V::zero(), one(T(1)), shift(margin - x[label]);
  const V factor(scale * static_cast<T>(p) / static_cast<T>(classes));
  V loss = zero, slope = zero;
  for_row(x, classes, T(0), [&](V v, Index i, int count) {
    V z = v + shift;
    for (int lane = 0; lane < V::lanes; ++lane)
      if (lane >= count || i + lane == label) z.v[lane] = 0;
    z = V::select(z < zero, zero, z);
    loss += p == 1 ? z : z * z;
    const V d = factor * (p == 1 ? V::select(z > zero, one, z) : z);
    slope += d;
    if (dx) d.store_partial(dx + i, count);
  });
  if (dx) dx[label] = -slope.sum();
  return double(loss.sum()) / static_cast<double>(classes);
}

}  // namespace

extern const kernels::LossKernels<float> loss_f32{pointwise<float>, cross_entropy<float>,
                                                  cross_entropy_probabilities<float>,
                                                  multi_margin<float>};
extern const kernels::LossKernels<double> loss_f64{pointwise<double>, cross_entropy<double>,
                                                   cross_entropy_probabilities<double>,
                                                   multi_margin<double>};

}  // namespace piste::PISTE_ISA
