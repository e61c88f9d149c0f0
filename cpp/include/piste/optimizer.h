#pragma once

#include <array>
#include <limits>
#include <memory>
#include <vector>

#include "piste/kinds.h"
#include "piste/tensor.h"

namespace piste {

/// Of one array, by the names of Python's constructors; a rule reads those it knows.
struct Hyperparameters {
  double lr = 0, weight_decay = 0;
  double momentum = 0, dampening = 0;
  double beta1 = 0, beta2 = 0, alpha = 0, eps = 0;
  double lr_decay = 0;
  bool nesterov = false, maximize = false, amsgrad = false, centered = false;
  bool decoupled = false;  // adam: weights decay by themselves, not through the gradient
};

/// Averages of arrays over a training: exponential, or (with a decay below 0) the plain mean.
template <class T>
struct Averages {
  std::vector<View<T>> sources, means;
  double decay = -1;
  Index start = 0, every = 0;  // from which update on, every so many; 0: only when called
  bool in_place = false;       // have they changed places with their sources?
};

template <class T>
class Undo;  // what the last update changed, where it may have gone too far

/// How the gradients of a network change its trainable arrays, one entry per array in order of
/// registration.
template <class T>
struct Optimizer {
  static constexpr int max_states = 3;
  using States = std::array<View<T>, max_states>;

  UpdateRule rule = UpdateRule::sgd;
  std::vector<Hyperparameters> options;
  std::vector<States> states;  // kernels/update/update.h has their meaning; null where not used

  /// Bounds of the gradient's values, then of its norm over all arrays.
  double clip_value = std::numeric_limits<double>::infinity();
  double clip_norm = std::numeric_limits<double>::infinity();

  /// One update for so many batches, on the gradient of all their samples as of one batch; at the
  /// end of an order, where asked for, also for fewer.
  Index accumulate = 1;
  bool update_at_end = false;
  std::vector<View<T>> sums;  // of gradients, one per array; not read where accumulate is 1

  /// Learning rates of the next updates, a row of one per array for each; training stops where they
  /// end. Empty: those of the options. The same for momentum or beta1, one value per update.
  std::vector<double> rates, momenta;

  Averages<T> averages;

  /// What a step changes beside arrays.
  struct Counters {
    Index updates = 0;   // made
    Index gathered = 0;  // batches in the sums
    double divisor = 0;  // what the sums are to be divided by
    Index rates_used = 0;
    Index averaged = 0;  // times that the averages were taken
  } counters;

  /// The engine's. It is kept here, as a network may be lowered anew between two updates, and as it
  /// holds on to the states.
  std::shared_ptr<Undo<T>> undo;

  bool out_of_rates() const {
    return !rates.empty() &&
           counters.rates_used * static_cast<Index>(options.size()) >= Index(rates.size());
  }
  /// After a batch: whether it brought an update that the averages are to have.
  bool averages_are_due() const {
    const Index since = counters.updates - averages.start;
    return averages.every > 0 && counters.gathered == 0 && since > 0 && since % averages.every == 0;
  }
  /// Adds the sources as they are to the averages.
  void average();
  /// Makes averages and sources change places, unless they stand as they are wanted.
  void put_averages(bool in_place);
};

}  // namespace piste
