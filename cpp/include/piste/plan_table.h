#pragma once

#include <string>
#include <vector>

#include "piste/tensor.h"

namespace piste {

/// What a plan is for. A manual one serves forward() and backward().
enum class PlanMode { predict, evaluate, train, manual };

/// One step of a plan: an op's pass over the whole batch.
struct PlanStep {
  std::string pass, layer, kernel, algorithm;  // algorithm: empty where there is one only
  Shape input, output;                         // of one sample; in a backward pass still x and y
  Index bytes = 0;                             // read and written, parameters included
  double flops = 0;
  Index segment = 0;  // steps of one segment run chunk by chunk, so that data stay in the cache
};

/// What will run for one batch, and the memory that it takes.
struct PlanTable {
  std::string isa;  // that its steps run on
  Index batch = 0;
  Index groups = 0;        // of samples, whose partial sums are kept apart
  Index micro_batch = 0;   // samples that go through a segment together
  int threads = 1;         // fewer than there are where the work is little
  Index arena_bytes = 0;   // what all threads share
  Index worker_bytes = 0;  // each thread's own
  std::vector<PlanStep> steps;
};

/// Where the time of training steps went, in seconds.
struct StepTimes {
  std::vector<double> steps;  // of a plan's steps, in its table's order, summed over threads
  double prepare = 0;         // weights packed before the forward pass
  double finish = 0;          // sums over groups
  double update = 0;          // of weights, the check of their gradients included
};

}  // namespace piste
