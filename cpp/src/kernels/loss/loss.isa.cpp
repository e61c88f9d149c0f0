#include "kernels/loss/loss.h"

#include "kernels/softmax/row.h"

namespace piste::PISTE_ISA {
namespace {

/// A loss and its derivative by x.
template <class T>
struct LossAndSlope {
  Vec<T> loss, slope;
};

template <class T>
Vec<T> absolute(Vec<T> v) {
  return Vec<T>::select(v < Vec<T>::zero(), -v, v);
}

/// log, no lower than -100: the limit that keeps a wrong, certain probability finite.
template <class T>
Vec<T> bounded_log(Vec<T> v) {
  const Vec<T> y = log(v), limit(T(-100));
  return Vec<T>::select(y < limit, limit, y);
}

template <class T>
LossAndSlope<T> evaluate(PointwiseLoss kind, Vec<T> x, Vec<T> t) {
  using V = Vec<T>;
  const V zero = V::zero(), one(T(1));
  switch (kind) {
    case PointwiseLoss::absolute: {
      const V d = x - t;
      const V sign = V::select(d > zero, one, V::select(d < zero, -one, d));
      return {absolute(d), sign};
    }
    case PointwiseLoss::bce: {
      const V loss = -(t * bounded_log(x) + (one - t) * bounded_log(one - x));
      const V spread = (one - x) * x, floor(T(1e-12));
      return {loss, (x - t) / V::select(spread < floor, floor, spread)};
    }
    case PointwiseLoss::bce_with_logits: {
      // max(x, 0) - x t + ln(1 + e^-|x|)
      const V loss = V::select(x < zero, zero, x) - x * t + log(one + exp(-absolute(x)));
      return {loss, sigmoid(x) - t};
    }
    default: {
      const V d = x - t;
      return {d * d, d + d};
    }
  }
}

template <class T>
double pointwise(PointwiseLoss kind, const T* x, const T* t, const T* weight, T* loss, T* dx,
                 T scale, Index n) {
  constexpr int lanes = Vec<T>::lanes;
  double total = 0;
  for (Index i = 0; i < n; i += lanes) {
    const int count = static_cast<int>(n - i < lanes ? n - i : lanes);
    const Vec<T> w = weight ? Vec<T>::load_partial(weight + i, count) : Vec<T>(T(1));
    LossAndSlope<T> y =
        evaluate(kind, Vec<T>::load_partial(x + i, count), Vec<T>::load_partial(t + i, count));
    const Vec<T> weighted = w * y.loss;
    for (int lane = 0; lane < count; ++lane) total += weighted.v[lane];
    if (loss) weighted.store_partial(loss + i, count);
    if (dx) (Vec<T>(scale) * w * y.slope).store_partial(dx + i, count);
  }
  return total;
}

/// Loss and gradient of one row whose targets q(class) are given by a function.
template <class T, class Target>
double row_loss(const T* logits, Index classes, const T* class_weight, Target q, T* dx, T scale) {
  const T largest = row_max(logits, classes);
  const T sum = exp_sum(logits, classes, largest, dx);
  const T log_sum = log(Vec<T>(sum)).v[0];
  double loss = 0;
  T total = 0;  // of all weighted targets: what multiplies the softmax in the gradient
  for (Index c = 0; c < classes; ++c) {
    const T target = q(c) * (class_weight ? class_weight[c] : T(1));
    if (target != 0) loss -= double(target) * (double(logits[c] - largest) - double(log_sum));
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
        [=](Index c) { return (c == label ? 1 - smoothing : T(0)) + rest; }, dx, scale);
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
                                   const T* class_weight, T smoothing, T* dx, T scale) {
  const T rest = smoothing / static_cast<T>(classes);
  return row_loss(
      logits, classes, class_weight, [=](Index c) { return (1 - smoothing) * target[c] + rest; },
      dx, scale);
}

}  // namespace

extern const kernels::LossKernels<float> loss_f32{pointwise<float>, cross_entropy<float>,
                                                  cross_entropy_probabilities<float>};
extern const kernels::LossKernels<double> loss_f64{pointwise<double>, cross_entropy<double>,
                                                   cross_entropy_probabilities<double>};

}  // namespace piste::PISTE_ISA
