#pragma once

#include "engine/node.h"
#include "engine/op.h"

namespace piste {

/// Applies a run's Augmentation to single samples. What is drawn depends on the seed, the step and
/// the sample's place in the batch alone.
template <class T>
class Augmenter {
 public:
  Augmenter(const Run<T>& run, const MapShape& shape);

  /// From x to y, both (channels, height, width), which may not overlap; i counts in the batch.
  void apply(const T* x, Index i, T* y) const;

 private:
  struct Window {
    Index top = 0, left = 0;  // of the window in the image
    bool flip = false;
  };
  Window draw(Index i) const;

  const Augmentation<T>& augmentation_;
  Index channels_, height_, width_;
  bool random_;
  std::uint64_t key_;
};

extern template class Augmenter<float>;
extern template class Augmenter<double>;

}  // namespace piste
