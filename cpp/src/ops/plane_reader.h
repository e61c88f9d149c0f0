#pragma once

#include <vector>

#include "ops/plane_map.h"

namespace piste {

/// Some outputs: `count` from `first` on, in memory one behind the other.
struct PlaneBox {
  Index first[3], count[3];
  Index rows() const { return count[0] * count[1]; }
  Index pixels() const { return rows() * count[2]; }
};

/// Reads the planes that a box of outputs needs: in place where every tap stays inside, else from a
/// copy with a zero border, in which a stride's residues are planes of their own, so that the
/// values a tap reads for one row stand one behind the other.
template <class T>
class PlaneReader {
 public:
  enum class Place { source, copy };
  /// Boxes have at most `pixels` outputs and a copy takes at most `bytes`, except where that would
  /// leave rows of less than two vectors.
  PlaneReader(const PlaneMap& map, Index channels, Index bytes, Index pixels, Place place);

  /// Whether the planes may be read where they stand.
  static bool fits_in_place(const PlaneMap& map);

  Index boxes() const { return grid_[0] * grid_[1] * grid_[2]; }
  PlaneBox box(Index index) const;
  const Index* whole_box() const { return box_; }
  Index copy_size() const;  // values, with the vector that may be read past the last one
  /// offsets[channel * taps + tap], relative to what read() returns.
  const std::vector<Index>& offsets() const { return offsets_; }
  /// Where row (d, h) of a box begins.
  Index row_at(Index d, Index h) const { return (d * extent_[1] + h) * extent_[2]; }
  const T* read(const T* planes, const PlaneBox& box, T* copy) const;

 private:
  void choose_box(Index bytes, Index pixels);
  Index bytes_of(Index d, Index h, Index w) const;
  void lay_out();
  void copy_phase(const T* planes, const Index* phase, const PlaneBox& box, T* to) const;

  const PlaneMap map_;
  const Index channels_;
  const bool in_place_;
  std::vector<Index> phases_[3];  // residues of the taps that occur
  Index box_[3], grid_[3];        // outputs in a box; boxes
  Index extent_[3];               // of one residue's plane in the copy, or of the source
  Index channel_size_;
  std::vector<Index> offsets_;
};

}  // namespace piste
