#pragma once

#include <cstddef>

#include "ops/plane_reader.h"

namespace piste {

/// The gradients of a convolution's weight and bias from planes: partial sums over some boxes of
/// samples and for some filters, in independent tasks, then joined.
template <class T>
class PlaneGradient {
 public:
  static constexpr Index max_parts = 8;  // partial sums

  /// In at most so many parts, which are not more than max_parts.
  PlaneGradient(const PlaneMap& map, Index groups, Index channels, Index filters, Index samples,
                Index most_parts);

  Index tasks() const { return parts_ * ranges_; }
  Index parts() const { return parts_; }
  Index scratch_bytes() const;
  /// Values of one partial sum, and where the bias's stand in it.
  Index size() const { return bias_at() + groups_ * filters_; }
  Index bias_at() const { return groups_ * depth_ * padded_; }

  /// A task's share of its partial sum, added to what stands there or not; all parts stand in
  /// `gradients`, size() apart. So many values behind dy may be read.
  void run(Index task, const T* x, const T* dy, T* gradients, std::byte* scratch,
           bool accumulate = false, Index behind = 0) const;

  /// dweight = the parts' sum in their order, in independent tasks. Overwrites the first part.
  Index join_tasks() const { return groups_ * depth_blocks(); }
  void join(Index task, T* gradients, T* dweight) const;
  void join_bias(const T* gradients, T* dbias) const;

 private:
  struct Scratch {
    Index *x_at, *dy_at;
    T *copy, *dy;
  };
  Index depth_blocks() const { return by_dots_ ? 1 : (depth_ + 63) / 64; }
  Index dy_copy_size() const;
  void sum_bias(const T* dy, Index pixels, T* sums, Index count, bool accumulate) const;
  void outer(const PlaneBox& box, const T* x, const T* dy, Index count, T* gradient,
             bool accumulate, const Scratch& s) const;
  void dots(const PlaneBox& box, const T* x, const T* dy, const T* dy_end, T* gradient,
            bool accumulate, const Scratch& s) const;

  PlaneMap map_;
  Index groups_, filters_, samples_, depth_, lanes_, plane_;
  bool by_dots_;  // else by outer products
  Index panel_;   // filters taken at once
  Index padded_;  // filters of a group in a partial sum
  Index parts_, ranges_;
  PlaneReader<T> reader_;
};

}  // namespace piste
