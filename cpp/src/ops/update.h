#pragma once

#include "kernels/update/update.h"
#include "piste/optimizer.h"

namespace piste {

/// What the kernel needs for update t (from 1): bias corrections and decays of the rate are taken
/// in double, as the rules' papers and PyTorch have them.
template <class T>
UpdateOptions<T> update_options(UpdateRule rule, const Hyperparameters& h, Index t);

}  // namespace piste
