#pragma once

#include <cstddef>
#include <vector>

#include "kernels/planes/planes.h"
#include "ops/plane_reader.h"

namespace piste {

/// Weights as a correlation from `channels` to `filters` planes of each group sees them: a value
/// per tap at group * filters * channels * taps + filter * filter_stride + channel * channel_stride
/// + the tap's place in the kernel.
struct PlaneWeights {
  Index groups, filters, channels, filter_stride, channel_stride;
  Index kernel[3];

  /// The same from the filters to the channels, for gradients.
  PlaneWeights turned() const {
    return {groups,         channels,      filters,
            channel_stride, filter_stride, {kernel[0], kernel[1], kernel[2]}};
  }
};

/// A correlation of planes with packed weights, in independent units of work.
template <class T>
class PlaneProduct {
 public:
  PlaneProduct(const PlaneMap& map, const PlaneTarget& target, const PlaneWeights& weights,
               Index samples);

  Index packed_size() const { return weights_.groups * weights_.filters * depth_; }
  Index panels() const { return weights_.groups * panels_; }
  void pack(const T* weight, Index panel, T* packed) const;

  Index units() const { return samples_ * weights_.groups * reader_.boxes() * ranges_; }
  Index unit_flops() const;
  Index scratch_bytes() const;
  /// to = from * weights + bias (a value for each filter of each group), the unit's share; with
  /// ReLU only of depths up to `longest_chain`.
  void run(Index unit, const T* from, const T* packed, const T* bias, T* to, std::byte* scratch,
           bool relu = false) const;

 private:
  /// Outputs of one residue.
  struct Phase {
    Index residue[3], count[3];
    std::vector<Index> taps;     // of the map
    std::vector<Index> offsets;  // of channels and taps
    Index first_depth;           // its first row in a packed panel
  };
  struct Scratch {
    Index* tables;  // where the vectors of a box that is not whole stand
    T* sums;        // of chains
    T* rows;        // that are spread afterwards
  };
  Index sums_size() const;
  void make_phases();
  Index vectors_of(const PlaneBox& box) const;
  void place_vectors(const PlaneBox& box, Index* x_at, Index* y_at) const;
  void run_phase(const Phase& phase, const PlaneBox& box, Index planes, Index range,
                 const T* packed, const T* bias, T* to, kernels::PlaneProducts<T>& a,
                 const Scratch& scratch) const;
  Index row_pitch() const;
  void spread(const T* rows, const Phase& phase, const PlaneBox& box, T* plane) const;

  PlaneMap map_;
  PlaneTarget target_;
  PlaneWeights weights_;
  Index samples_, depth_, lanes_, panel_, panels_, ranges_;
  PlaneReader<T> reader_;
  std::vector<Phase> phases_;
  std::vector<Index> x_at_, y_at_;  // of a whole box
};

}  // namespace piste
