#pragma once

#include <vector>

#include "piste/index.h"

namespace piste {

/// What is done to images as a batch is gathered: those to train on are cut out and mirrored at
/// random, then all are normalised.
template <class T>
struct Augmentation {
  double flip = 0;           // probability that left and right are exchanged
  Index padding = 0;         // zero pixels around the image out of which its size is cut
  std::vector<T> mean, std;  // of each channel: (value - mean) / std; empty: as it is
};

}  // namespace piste
