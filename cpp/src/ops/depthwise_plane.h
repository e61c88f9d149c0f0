#pragma once

#include <vector>

#include "kernels/depthwise/planes.h"
#include "ops/plane_map.h"

namespace piste {

/// Copies single planes with the zero border that a correlation's taps read, the columns of each
/// residue of the stride side by side; or reads them where they stand, if that does.
template <class T>
class BorderedPlane {
 public:
  /// `in_place` where planes may be read as they stand, `whole` where all of their values must be
  /// in the copy, read by a tap or not.
  BorderedPlane(const PlaneMap& map, bool in_place, bool whole);

  Index size() const { return in_place_ ? 0 : rows_ * row_; }  // values of a copy
  Index row() const { return row_; }                           // from one row to the next
  Index step() const { return stride_ * row_; }  // from what a row of outputs reads to the next one
  /// Of a tap's position, from what read() returns.
  Index offset(Index row, Index column) const;
  /// Of the plane's first value in a copy, of stride 1.
  Index first() const { return above_ * row_ + left_; }
  /// The plane at `from` ready to read, in `copy` if need be, which was all zeros before the first
  /// call; nothing at `end` or behind is read.
  const T* read(const T* from, const T* end, T* copy) const;

 private:
  const kernels::DepthwisePlanesKernels<T>& kernels_;
  Index stride_, column_stride_, columns_;
  bool in_place_;
  Index rows_, row_, part_, above_, left_, taken_rows_, taken_columns_;
  std::vector<unsigned char> used_;  // residues of rows
  std::vector<Index> parts_;         // of a copy's row: where the residues of the columns begin
  std::vector<Index> at_;            // and where the plane's first columns go
};

/// The correlation of single planes with kernels of their own.
template <class T>
class DepthwiseProduct {
 public:
  DepthwiseProduct(const PlaneMap& map, const PlaneTarget& target, bool in_place);

  const BorderedPlane<T>& source() const { return source_; }
  /// Values of scratch, which were all zeros before the first call.
  Index scratch_size() const;
  /// to = from (which source() has read) * weights + bias.
  void run(const T* from, const T* weights, T bias, T* to, T* scratch) const;

 private:
  /// Outputs of one residue of the steps.
  struct Phase {
    Index at, rows, columns;
    std::vector<Index> offsets, ids;
    Index shared;
    bool in_order;  // all weights, as they stand
  };
  Phase phase(const PlaneMap& map, Index row_residue, Index column_residue) const;

  const kernels::DepthwisePlanesKernels<T>& kernels_;
  PlaneTarget target_;
  BorderedPlane<T> source_;
  bool direct_;        // sums go to their place at once
  Index part_, line_;  // of the scratch: from residue to residue, and from row to row
  Index taps_;
  std::vector<Phase> phases_;
};

}  // namespace piste
