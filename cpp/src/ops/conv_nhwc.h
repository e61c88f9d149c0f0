#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "base/aligned.h"
#include "kernels/gemm/gemm.h"
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

/// Products of a sum that are added up in a row, then to what stands there: longer chains lose
/// accuracy, and a panel of so many weights stays in L1 while all tiles pass by.
inline constexpr Index longest_chain = 256;

/// Implicit GEMM over NHWC rows, all three passes. Serial, allocation-free: the caller splits the
/// work and gives `scratch`. dy and y rows may be read up to a vector past their last value.
template <class T>
class Conv {
 public:
  /// `leaves_out` lets calls leave out products with the zero border, which then is one for all
  /// pixels: a tile has the taps that any of its pixels needs. Without `gradients` there is forward
  /// alone.
  explicit Conv(const ConvGeometry& geometry, bool leaves_out = false, bool gradients = true);

  /// Before the first pass: finds where the pixels lie, without `data` not for backward_data. All
  /// else is known before, for a plan of a large image takes no memory until it is run.
  void lay_out(bool data);
  Index layout_bytes(bool data) const;

  // Sizes in values; `gradient` is the layout that backward_weight sums in.
  Index packed_forward_size() const { return forward_.packed_size(); }
  Index packed_backward_size() const { return backward_.packed_size() + runs_size(); }
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

  /// Rows of pixels [first, end) of each sample.
  struct Lines {
    Index first, end;
  };
  Lines all_lines() const { return {0, g_.out[0] * g_.out[1]}; }
  /// Those of x that lines of y read.
  Lines source_lines(const Lines& lines) const;

  /// Lines of n samples. Values of y between the filters and their last vector's end are set to
  /// what a zero weight gives. `finite` says that all weights are, so that zeros may be left out.
  void forward(const T* x, const T* packed, const T* bias, bool relu, T* y, Index n,
               const Lines& lines, void* scratch, bool finite = false) const;
  /// dx of samples [begin, end): of `parts` parts of their pixels the one asked for.
  void backward_data(const T* dy, const T* packed, T* dx, Index begin, Index end, void* scratch,
                     Index part = 0, Index parts = 1, bool finite = false) const;
  // The weight gradient in parts that may be computed at the same time, each over all samples.
  Index weight_parts() const;
  /// `finite` says that all of dy is.
  void outer_products(const T* bordered, const T* dy, T* gradient, Index n, Index first_part,
                      Index last_part, bool accumulate, void* scratch, bool finite = false) const;
  /// One sample with the zero border that the parts read.
  Index bordered_values() const;
  void add_border(const T* x, T* bordered) const;

  /// Sums over n samples; bias_gradient (filters) may be null.
  void backward_weight(const T* x, const T* dy, T* gradient, T* bias_gradient, Index n,
                       bool accumulate, void* scratch) const;

 private:
  static constexpr Index range_pixels = 120;  // whose tiles share a visit of each weight panel

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

  /// Where a product reads: rows of an array with a zero border wide enough for every tap, so that
  /// a tap is one offset for all pixels. Without a border it is the user's array itself.
  struct Border {
    Index in[3], low[3], extent[3];  // before, the zeros in front, and with all zeros
    Index stride;                    // values from pixel to pixel
    bool needed = false;
    Index pixels() const { return extent[0] * extent[1] * extent[2]; }
    Index in_pixels() const { return in[0] * in[1] * in[2]; }
    Index samples(Index n) const;  // that the scratch holds at once
  };

  /// Of each axis the taps [first, end) that read a value, not the zero border.
  struct Reach {
    int first[3], end[3];
    void join(const Reach& other);
    bool has(const int* tap) const;
    bool operator==(const Reach&) const = default;
    Index taps() const;
  };

  /// Output positions of a product and its taps. backward_data has one for each residue of the
  /// input positions modulo the stride, or several.
  struct Phase {
    Index first[3], count[3], step[3];  // in its output: first, first + step, ...
    Index move[3];                      // and how far its source moves with each
    std::vector<Index> starts[3];       // of each axis' taps: the source position of pixel 0
    std::vector<Index> offsets, tap_ids;
    std::vector<Index> sources, targets, lines;  // of the pixels of a sample, after lay_out()
    static constexpr Index pixel_bytes = 3 * sizeof(Index);
    std::vector<Reach> reach;                // of some pixels on end; empty where all have all taps
    std::vector<Index> reach_of;             // of each pixel, where in `reach`
    std::vector<std::array<int, 3>> places;  // of the taps, then
    Index run = 0;                           // contiguous values that a tap reads
    Index pixels() const { return count[0] * count[1] * count[2]; }
  };

  /// Of backward_data by spreading: what taps next to each other give to pixels whose channels
  /// stand one behind the other, with nothing between. A run's vectors are full but for the last.
  /// Where that saves none, a run is one tap, and what is spread goes where it belongs.
  struct Runs {
    bool dense = false;
    Index taps = 1;  // of a run
    Index values = 0, padded = 0;
    Index stride = 0;            // from pixel to pixel
    std::vector<Index> offsets;  // [runs], from the first
  };

  /// Input positions first, first + stride, ... of one axis and the kernel positions that reach
  /// them, each with the output position that it meets the first of them from.
  struct AxisPart {
    struct Tap {
      Index k, source;
    };
    Index first, count;
    std::vector<Tap> taps;
  };

  struct Scratch {
    const T** rows;       // [pixels]
    T** out;              // [pixels]
    const Reach** reach;  // [pixels]
    const T** few_rows;   // [pixels]: those that a tap needs
    const T** few_out;
    const T** panels;  // [taps]
    const T** few_panels;
    Index* few_offsets;
    T* border;
  };
  bool leaves_out(const Border& border) const {
    return leaves_out_ && border.needed && !depthwise_;
  }
  std::size_t pointers() const;
  Scratch carve(void* scratch) const;

  void make_forward();
  std::vector<AxisPart> axis_parts(int axis, bool split) const;
  void make_backward();
  void merge_taps(const Border& border, Phase& phase, bool dense) const;
  void copy_bordered(const Border& border, const T* from, Index samples, T* to, Index first,
                     Index end) const;
  void place(Phase& phase, const Border& border, const Index* out, Index out_stride) const;
  std::vector<Reach> axis_reach(const Phase& phase, const Border& border, int axis) const;
  void point(const Phase& phase, Index from_sample, const T* from, Index to_sample, T* to,
             Index first, Index pixels, const Scratch& s) const;
  void point_across(const Phase& phase, Index from_sample, const T* from, Index to_sample, T* to,
                    Index first, Index pixels, Index samples, const Scratch& s) const;
  static Index rows_together(const Reach* const* reach, Index most);
  static kernels::GemmTile<T> without_zeros(const Phase& phase, const kernels::GemmTile<T>& all,
                                            Index first_tap, Index rows, const Reach* const* reach,
                                            const Scratch& s);
  void run_depthwise(const Phase& phase, const T* packed, const T* bias, bool relu, Index pixels,
                     const Scratch& s) const;
  void depthwise_products(const T* dy, Index pixels, T* gradient, Index first_part, Index last_part,
                          bool accumulate, const Scratch& s) const;
  void make_runs();
  Index runs_size() const { return Index(runs_.offsets.size()) * runs_.padded * backward_.depth; }
  Index spread_values() const;
  void pack_runs(const T* weight, T* packed, Index filter) const;
  void spread(const T* dy, const T* packed, T* dx, Index n, const Scratch& s) const;
  void spread_sample(const T* dy, const T* packed, T* to, const Scratch& s) const;
  void run_lines(kernels::GemmTile<T>& tile, Index line_rows, Index pixels, const Scratch& s) const;
  void run_tiles(const Product& product, const Phase& phase, const T* packed, const T* bias,
                 bool relu, Index out_stride, Index pixels, const Scratch& s, bool finite) const;

  ConvGeometry g_;
  bool leaves_out_;
  bool depthwise_ =
      false;  // every channel has its own kernel: the products have one group, of depth 1
  Index taps_;
  Product forward_, backward_;
  Index pack_tasks_;
  Border x_border_, dy_border_;
  Phase all_;                  // forward
  std::vector<Phase> phases_;  // backward_data
  bool spreads_;               // backward_data: dy to where the taps read
  Runs runs_;                  // then
};

}  // namespace piste
