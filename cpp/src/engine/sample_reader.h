#pragma once

#include <cstdint>

#include "piste/input.h"

namespace piste {

/// Reads an input's samples as numbers in NCHW order; bytes become scale * byte + shift.
template <class T>
class SampleReader {
 public:
  SampleReader(const Input& x, T scale, T shift);

  /// Sample i: where it lies if it can be used as it is, else in `numbers`.
  const T* read(Index i, T* numbers) const;

  /// Samples order[0], order[1], ... (null: 0, 1, ...), where they lie one after another and can be
  /// used as they are; else null.
  const T* batch(const std::int64_t* order, Index n) const;

  /// Asks for a sample's memory, to be read soon.
  void prefetch(Index i) const;

 private:
  Input x_;
  T scale_, shift_;
  static constexpr int axes = 4;  // of a sample, at most: (channels, depth, height, width)
  Index extents_[axes], strides_[axes];
  bool direct_, dense_;  // usable as it is; or contiguous, but of another type
};

extern template class SampleReader<float>;
extern template class SampleReader<double>;

}  // namespace piste
