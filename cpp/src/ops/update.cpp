#include "ops/update.h"

#include <cmath>

namespace piste {

template <class T>
UpdateOptions<T> update_options(UpdateRule rule, const Hyperparameters& h, Index t) {
  double lr = h.lr, correction = 1, beta2 = h.beta2;
  const auto step = static_cast<double>(t);
  switch (rule) {
    case UpdateRule::adam:
      lr /= 1 - std::pow(h.beta1, step);
      correction = 1 / std::sqrt(1 - std::pow(h.beta2, step));
      break;
    case UpdateRule::rmsprop:
      beta2 = h.alpha;
      break;
    case UpdateRule::adagrad:
      lr /= 1 + (step - 1) * h.lr_decay;
      break;
    case UpdateRule::sgd:
      break;
  }
  UpdateOptions<T> o;
  o.lr = static_cast<T>(lr);
  o.weight_decay = static_cast<T>(h.decoupled ? 0 : h.weight_decay);
  o.momentum = static_cast<T>(h.momentum);
  o.dampening = static_cast<T>(h.dampening);
  o.beta2 = static_cast<T>(beta2);
  o.rest1 = static_cast<T>(1 - h.beta1);
  o.rest2 = static_cast<T>(1 - beta2);
  o.eps = static_cast<T>(h.eps);
  o.shrink = static_cast<T>(h.decoupled ? 1 - h.lr * h.weight_decay : 1);
  o.correction = static_cast<T>(correction);
  o.nesterov = h.nesterov;
  o.maximize = h.maximize;
  o.amsgrad = h.amsgrad;
  o.centered = h.centered;
  o.first_step = t == 1;
  return o;
}

template UpdateOptions<float> update_options(UpdateRule, const Hyperparameters&, Index);
template UpdateOptions<double> update_options(UpdateRule, const Hyperparameters&, Index);

}  // namespace piste
