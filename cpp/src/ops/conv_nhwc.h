#pragma once

#include <algorithm>
#include <vector>

#include "base/aligned.h"
#include "piste/tensor.h"

namespace piste {

/// A convolution over up to three spatial axes (depth, height, width; absent ones have extent 1).
/// A linear layer is the case whose kernel covers the whole input.
struct ConvGeometry {
  Index channels, filters, groups;
  Index in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];  // pad: before the first value
  Index x_stride, y_stride;  // values from pixel to pixel, at least the channels

  Index in_pixels() const { return in[0] * in[1] * in[2]; }
  Index out_pixels() const { return out[0] * out[1] * out[2]; }
  Index taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

/// Implicit GEMM over NHWC rows, all three passes. Serial, allocation-free: the caller splits the
/// work and gives `scratch`. dy and y rows may be read up to a vector past their last value.
template <class T>
class Conv {
 public:
  explicit Conv(const ConvGeometry& geometry);

  // Sizes in values; `gradient` is the layout that backward_weight sums in.
  Index packed_forward_size() const { return forward_.packed_size(); }
  Index packed_backward_size() const { return backward_.packed_size(); }
  Index gradient_size() const;
  Index scratch_bytes() const;

  /// Weights (filters, channels / groups, kernel...) to panels, and gradients back, in independent
  /// tasks.
  Index pack_tasks() const { return pack_tasks_; }
  void pack_forward(const T* weight, T* packed, Index task) const;
  void pack_backward(const T* weight, T* packed, Index task) const;
  /// weight_gradient = gradients[0] + gradients[1] + ... in that order.
  void unpack_gradient(const T* const* gradients, Index count, T* weight_gradient,
                       Index task) const;

  /// Output pixels [begin, end) of the n samples' pixels taken as one sequence. Values of y between
  /// the filters and their last vector's end are set to what a zero weight gives.
  void forward(const T* x, const T* packed, const T* bias, bool relu, T* y, Index n, Index begin,
               Index end, void* scratch) const;
  /// dx of samples [begin, end), whole.
  void backward_data(const T* dy, const T* packed, T* dx, Index n, Index begin, Index end,
                     void* scratch) const;
  /// Sums over n samples; bias_gradient (filters) may be null.
  void backward_weight(const T* x, const T* dy, T* gradient, T* bias_gradient, Index n,
                       bool accumulate, void* scratch) const;

 private:
  /// One product's shape: `columns` outputs of each group, in panels of `panel` columns.
  struct Product {
    Index groups, columns, depth, lanes, panel, taps;
    Index padded() const { return (columns + lanes - 1) / lanes * lanes; }
    Index blocks() const { return (columns + panel - 1) / panel; }
    Index width(Index block) const { return std::min(panel, padded() - block * panel); }
    Index packed_size() const { return groups * padded() * depth * taps; }
    /// Where the panels of (group, block) start: [tap][depth][width].
    Index offset(Index group, Index block) const {
      return (group * padded() + block * panel) * depth * taps;
    }
  };

  /// One residue of the input positions modulo the stride (backward_data): where they are, and the
  /// kernel positions that reach them.
  struct Phase {
    Index first[3], count[3];
    std::vector<Index> taps[3];
    Index pixels() const { return count[0] * count[1] * count[2]; }
  };

  struct Scratch {
    const T** table;   // source rows: [tiles][taps][rows of the tile], or [taps][pixels]
    T** out;           // [tiles][rows]
    const T** panels;  // [taps]
  };
  Scratch carve(void* scratch) const;

  void forward_table(const T* x, Index first, Index rows, const T** table) const;
  void backward_table(const Phase& phase, const T* dy, T* dx, Index first, Index rows,
                      const T** table, T** out) const;
  void run_tiles(const Product& product, const T* packed, const T* bias, bool relu,
                 Index out_stride, Index pixels, Index taps, const Index* tap_ids,
                 const Scratch& s) const;
  void backward_phase(const Phase& phase, const T* dy, const T* packed, T* dx, Index begin,
                      Index end, const Scratch& s) const;
  void make_phases();

  ConvGeometry g_;
  Index taps_;
  Product forward_, backward_;
  Index pack_tasks_, range_tiles_;
  int tile_rows_;
  std::vector<Phase> phases_;
  std::vector<Index> all_taps_;
  std::vector<std::vector<Index>> phase_taps_;
  AlignedBytes zeros_;
};

}  // namespace piste
