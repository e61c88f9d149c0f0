#pragma once

#include "piste/index.h"

namespace piste {

/// How a convolution is computed: `direct` sums products as the formula says; `winograd` needs
/// fewer of them for 3x3 kernels with stride 1, at about five times the rounding error, and is
/// direct elsewhere; `automatic` takes whichever was measured to be faster. The others are ways of
/// `direct`, which chooses among them; to name one serves measurements.
enum class Algorithm { automatic, direct, winograd, planes, pointwise, rows };

/// For all that do not choose for themselves.
Algorithm default_algorithm();
void set_default_algorithm(Algorithm algorithm);

}  // namespace piste
