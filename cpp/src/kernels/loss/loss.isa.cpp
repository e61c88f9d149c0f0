#include "kernels/loss/loss.h"

#include <utility>

#include "kernels/loss/pointwise.h"
#include "kernels/softmax/row.h"

namespace piste::PISTE_ISA {
namespace {

/// A sum in doubles, in an order that the number of values fixes.
template <class T>
struct DoubleSum;

template <>
struct DoubleSum<double> {
  Vec<double> sum = Vec<double>::zero();
  void add(Vec<double> x) { sum += x; }
  double value() const { return sum.sum(); }
};

// Two native vectors: GCC adds up one that is wider than the registers in memory.
template <>
struct DoubleSum<float> {
  static constexpr int half = Vec<double>::lanes;
  Vec<double> low = Vec<double>::zero(), high = Vec<double>::zero();
  template <int... J>
  void add(Vec<float> x, std::integer_sequence<int, J...>) {
    using Wide = Vec<double>::Vector;
    low += __builtin_convertvector(__builtin_shufflevector(x.v, x.v, J...), Wide);
    high += __builtin_convertvector(__builtin_shufflevector(x.v, x.v, (J + half)...), Wide);
  }
  void add(Vec<float> x) { add(x, std::make_integer_sequence<int, half>()); }
  double value() const { return (low + high).sum(); }
};

/// The values from place i on, a vector of them or `count`; ones where there is no array.
template <bool whole, class T>
inline __attribute__((always_inline)) Vec<T> load_at(const T* from, Index i, int count) {
  if (!from) return Vec<T>(T(1));
  return whole ? Vec<T>::load(from + i) : Vec<T>::load_partial(from + i, count);
}

/// Nothing where no array is wanted.
template <bool whole, class T>
inline __attribute__((always_inline)) void store_at(Vec<T> values, T* to, Index i, int count) {
  if (!to) return;
  if constexpr (whole)
    values.store(to + i);
  else
    values.store_partial(to + i, count);
}

/// Losses of one vector of values or, at the end, of `count` values.
template <bool whole, class T, class F>
inline __attribute__((always_inline)) Vec<T> losses_at(const F& f, const PointwiseLossCall<T>& call,
                                                       Index i, int count) {
  using V = Vec<T>;
  const auto load = [=](const T* from) { return load_at<whole>(from, i, count); };
  V loss = load(call.weight) * f.loss(load(call.x), load(call.t), load(call.extra));
  if constexpr (!whole)
    for (int lane = count; lane < V::lanes; ++lane) loss.v[lane] = 0;
  store_at<whole>(loss, call.loss, i, count);
  return loss;
}

template <bool whole, class T, class F>
inline __attribute__((always_inline)) void slopes_at(const F& f, const PointwiseLossCall<T>& call,
                                                     Index i, int count) {
  using V = Vec<T>;
  const auto load = [=](const T* from) { return load_at<whole>(from, i, count); };
  const auto store = [=](V v, T* to) { store_at<whole>(v, to, i, count); };
  const Slopes<T> slopes = f.slopes(load(call.x), load(call.t), load(call.extra));
  const V factor = V(call.scale) * load(call.grad) * load(call.weight);
  store(factor * slopes.x, call.dx);
  store(factor * slopes.t, call.dt);
  store(factor * slopes.e, call.dextra);
}

template <class T, class F>
void run(const F& f, const PointwiseLossCall<T>& call) {
  constexpr int lanes = Vec<T>::lanes;
  const Index whole = call.n / lanes * lanes;
  const int rest = static_cast<int>(call.n - whole);
  if (call.sum || call.loss) {
    DoubleSum<T> sum;
    for (Index i = 0; i < whole; i += lanes) sum.add(losses_at<true>(f, call, i, lanes));
    if (rest) sum.add(losses_at<false>(f, call, whole, rest));
    if (call.sum) *call.sum = sum.value();
  }
  if (call.dx || call.dt || call.dextra) {
    for (Index i = 0; i < whole; i += lanes) slopes_at<true>(f, call, i, lanes);
    if (rest) slopes_at<false>(f, call, whole, rest);
  }
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

void count_labels(const std::int64_t* labels, Index n, Index classes, Index ignored,
                  Index* ignored_count, Index* outside_count) {
  Index same = 0, outside = 0;
  const auto limit = static_cast<std::uint64_t>(classes);
  for (Index i = 0; i < n; ++i) {  // the compiler makes vectors of it
    same += labels[i] == ignored;
    outside += static_cast<std::uint64_t>(labels[i]) >= limit;  // those below 0 are large ones
  }
  *ignored_count = same;
  *outside_count = outside;
}

}  // namespace

extern const kernels::LossKernels<float> loss_f32{pointwise<float>, cross_entropy<float>,
                                                  cross_entropy_probabilities<float>,
                                                  multi_margin<float>, count_labels};
extern const kernels::LossKernels<double> loss_f64{pointwise<double>, cross_entropy<double>,
                                                   cross_entropy_probabilities<double>,
                                                   multi_margin<double>, count_labels};

}  // namespace piste::PISTE_ISA
