#pragma once

#include <vector>

#include "engine/layers.h"

namespace piste {

/// What lowering needs to know of a network.
template <class T>
struct Graph {
  const std::vector<Node>& nodes;
  std::vector<Trainable<T>> trainables;
  int output;
};

/// Lowers the graph for the plan's batch and samples of `sample_shape`, then seals the plan.
template <class T>
void lower(const Graph<T>& graph, const Shape& sample_shape, Plan<T>& plan);

}  // namespace piste
