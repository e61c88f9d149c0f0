#pragma once
// The parts of Network that its own sources share.

#include "engine/lowering.h"
#include "engine/node.h"
#include "engine/plan.h"
#include "engine/undo.h"
#include "piste/network.h"

namespace piste {

inline constexpr Index predict_batch = 1024;  // samples that predict() takes at a time

template <class T>
struct Network<T>::PlanEntry {
  PlanMode mode;
  Index batch;
  Shape sample_shape;
  Algorithm algorithm;  // the default when it was made
  Plan<T> plan;
};

}  // namespace piste
