#pragma once
// The parts of Network that its own sources share.

#include "engine/lowering.h"
#include "engine/node.h"
#include "engine/plan.h"
#include "engine/undo.h"
#include "ops/update.h"
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

template <class T>
struct Network<T>::Learning {
  std::vector<Index> ends;      // of each parameter's blocks, which are updated in parallel
  std::vector<double> squares;  // sums of each block's squared gradients, which may overflow
  std::vector<UpdateOptions<T>> options;  // of each parameter
};

}  // namespace piste
