#include "names.h"

#include <utility>

namespace piste {
namespace {

template <class Kind, std::size_t N>
Kind named(const char* tag, const std::pair<const char*, Kind> (&names)[N],
           const std::string& name) {
  for (const auto& [known, kind] : names)
    if (name == known) return kind;
  fail(tag, "unknown name ", name);
}

}  // namespace

Activation activation_named(const std::string& name) {
  static const std::pair<const char*, Activation> names[] = {
      {"relu", Activation::relu},
      {"sigmoid", Activation::sigmoid},
      {"tanh", Activation::tanh},
      {"relu6", Activation::relu6},
      {"leaky_relu", Activation::leaky_relu},
      {"elu", Activation::elu},
      {"selu", Activation::selu},
      {"celu", Activation::celu},
      {"gelu", Activation::gelu},
      {"gelu_tanh", Activation::gelu_tanh},
      {"silu", Activation::silu},
      {"mish", Activation::mish},
      {"softplus", Activation::softplus},
      {"logsigmoid", Activation::logsigmoid},
      {"threshold", Activation::threshold},
      {"hardswish", Activation::hardswish},
      {"hardsigmoid", Activation::hardsigmoid},
      {"hardtanh", Activation::hardtanh},
      {"tanhshrink", Activation::tanhshrink},
      {"softsign", Activation::softsign},
  };
  return named("activation", names, name);
}

Algorithm algorithm_named(const std::string& name) {
  for (const Algorithm known : {Algorithm::automatic, Algorithm::direct, Algorithm::winograd,
                                Algorithm::planes, Algorithm::pointwise, Algorithm::rows})
    if (name == name_of(known)) return known;
  fail("algorithm", "expected 'auto', 'direct' or 'winograd', got '", name, "'");
}

const char* name_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::direct:
      return "direct";
    case Algorithm::winograd:
      return "winograd";
    case Algorithm::planes:
      return "planes";
    case Algorithm::pointwise:
      return "pointwise";
    case Algorithm::rows:
      return "rows";
    default:
      return "auto";
  }
}

LossKind loss_named(const std::string& name) {
  static const std::pair<const char*, LossKind> names[] = {
      {"cross_entropy", LossKind::cross_entropy},
      {"nll", LossKind::nll},
      {"multi_margin", LossKind::multi_margin},
      {"pointwise", LossKind::pointwise},
  };
  return named("loss", names, name);
}

PlanMode plan_mode_named(const std::string& name) {
  static const std::pair<const char*, PlanMode> names[] = {
      {"train", PlanMode::train},
      {"evaluate", PlanMode::evaluate},
      {"predict", PlanMode::predict},
  };
  return named("plan", names, name);
}

PaddingMode padding_mode_named(const std::string& name) {
  static const std::pair<const char*, PaddingMode> names[] = {
      {"zeros", PaddingMode::zeros},
      {"reflect", PaddingMode::reflect},
      {"replicate", PaddingMode::replicate},
      {"circular", PaddingMode::circular},
  };
  return named("padding_mode", names, name);
}

Reduction reduction_named(const std::string& name) {
  static const std::pair<const char*, Reduction> names[] = {
      {"mean", Reduction::mean},
      {"sum", Reduction::sum},
      {"batchmean", Reduction::batch_mean},
  };
  return named("reduction", names, name);
}

PointwiseLoss pointwise_loss_named(const std::string& name) {
  static const std::pair<const char*, PointwiseLoss> names[] = {
      {"squared", PointwiseLoss::squared},
      {"absolute", PointwiseLoss::absolute},
      {"smooth_l1", PointwiseLoss::smooth_l1},
      {"huber", PointwiseLoss::huber},
      {"bce", PointwiseLoss::bce},
      {"bce_with_logits", PointwiseLoss::bce_with_logits},
      {"kl_div", PointwiseLoss::kl_div},
      {"kl_div_log_target", PointwiseLoss::kl_div_log_target},
      {"poisson_nll", PointwiseLoss::poisson_nll},
      {"poisson_nll_log_input", PointwiseLoss::poisson_nll_log_input},
      {"gaussian_nll", PointwiseLoss::gaussian_nll},
      {"hinge_embedding", PointwiseLoss::hinge_embedding},
      {"soft_margin", PointwiseLoss::soft_margin},
  };
  return named("loss", names, name);
}

UpdateRule update_rule_named(const std::string& name) {
  static const std::pair<const char*, UpdateRule> names[] = {
      {"sgd", UpdateRule::sgd},
      {"adam", UpdateRule::adam},
      {"rmsprop", UpdateRule::rmsprop},
      {"adagrad", UpdateRule::adagrad},
  };
  return named("optimizer", names, name);
}

}  // namespace piste
