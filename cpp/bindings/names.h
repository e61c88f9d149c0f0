#pragma once

#include <string>

#include "piste/algorithm.h"
#include "piste/network.h"

namespace piste {

/// From the names that Python uses; ArgumentError for an unknown one.
Activation activation_named(const std::string& name);
Algorithm algorithm_named(const std::string& name);
const char* name_of(Algorithm algorithm);
LossKind loss_named(const std::string& name);
PaddingMode padding_mode_named(const std::string& name);
PlanMode plan_mode_named(const std::string& name);
Reduction reduction_named(const std::string& name);
PointwiseLoss pointwise_loss_named(const std::string& name);
UpdateRule update_rule_named(const std::string& name);

}  // namespace piste
