#pragma once

#include <vector>

#include "piste/tensor.h"

namespace piste {

/// One parameter array, its gradient and its momentum buffer, alike in shape; the buffer may be
/// null where the momentum is 0. A new buffer starts at the gradient, whatever it holds.
template <class T>
struct SgdArrays {
  View<T> param;
  View<const T> grad;
  View<T> buffer;
  bool new_buffer = false;
};

template <class T>
struct SgdHyperparameters {
  T lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
};

/// One step of stochastic gradient descent on all arrays (kernels/update/update.h has the formula),
/// none of which may overlap another. Everything is checked before anything is changed.
template <class T>
void sgd(const std::vector<SgdArrays<T>>& arrays, const SgdHyperparameters<T>& options);

}  // namespace piste
