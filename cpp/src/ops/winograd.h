#pragma once

#include "ops/conv_nhwc.h"
#include "piste/algorithm.h"

namespace piste {

/// The stages of Winograd's method for one pass of a 3x3 convolution with stride 1 (see
/// kernels/winograd/winograd.h). Serial and allocation-free: the caller splits the work by strips,
/// panels or blocks and owns all memory. Channels inside are padded to the vector's lanes.
template <class T>
class Winograd {
 public:
  /// What goes in and out: the input for the forward pass, the output's gradient for the other.
  struct Pass {
    Index in_channels, in[2], pad[2];  // pad: zeros above and to the left
    Index out_channels, out[2];
    bool backward;  // by data: weights flipped, their two channel axes exchanged
  };
  static Pass forward_pass(const ConvGeometry& g);
  static Pass backward_pass(const ConvGeometry& g);
  static bool takes(const ConvGeometry& g);
  /// Whether it takes the problem and is to be used for it.
  static bool chosen(const ConvGeometry& g, Algorithm algorithm);
  /// 2 or 4, whichever multiplies less.
  static int tile_size(const ConvGeometry& g);

  Winograd(const Pass& pass, int m);

  // Strips: the units of work over n samples, either some tile rows of one sample or some samples.
  struct Strip {
    Index sample, samples, row, rows;  // rows of tiles
    Index tile, tiles;                 // of all samples' tiles taken as one sequence
  };
  Index strips(Index n) const;
  Strip strip(Index i, Index n) const;
  Index strip_tiles() const { return rows_ * wide_ * samples_; }  // at most
  Index sample_tiles() const { return high_ * wide_; }

  Index frequencies() const { return Index(m_ + 2) * (m_ + 2); }
  Index in_stride() const { return in_stride_; }
  Index out_stride() const { return out_stride_; }
  /// Values between tiles of transformed inputs and of transformed gradients of the output.
  Index v_stride() const { return tile_stride(in_stride_); }
  Index z_stride() const { return tile_stride(out_stride_); }
  /// Values between frequencies of `rows` (tiles, channels of weights) with `stride` values; never
  /// pages apart, where all frequencies of one row would share the same few lines of the cache.
  static Index frequency_stride(Index rows, Index stride) { return rows * stride + 16; }

  // Source rows with their zero border, channels last.
  Index border_values() const;
  void border_from_planes(const T* nchw, const Strip& strip, T* border, T* scratch) const;
  void border_from_rows(const T* rows, Index stride, const Strip& strip, T* border) const;
  Index border_scratch_values() const { return pass_.in[0] * pass_.in[1] * in_stride_; }

  /// v[frequency][tile][v_stride] of the strip's tiles.
  void transform(const T* border, const Strip& strip, T* v, Index frequency) const;

  // Weights (filters, channels, 3, 3) to panels of [frequency][in_channels][width], each frequency
  // `panel_frequency` values from the last.
  Index panels() const;
  Index panel_width(Index panel) const;
  Index panel_offset(Index panel) const;
  Index packed_size() const { return panel_offset(panels()); }
  void pack(const T* weight, Index panel, T* packed) const;

  /// s[frequency][tile][stride] for the channels of panels [first, last); `packed` starts with the
  /// first of them.
  void multiply(const T* v, Index v_frequency, const T* packed, Index first, Index last, T* s,
                Index s_frequency, Index s_stride, Index tiles) const;

  /// The strip's output rows, channels last, `channels` of them from s; false where one is not
  /// finite.
  bool finish(const T* s, Index frequency, Index s_stride, const Strip& strip, Index channels,
              const T* bias, bool relu, T* rows, Index stride) const;

  /// z[frequency][tile][z_stride] of the output's gradient, given as the strip's rows.
  void transform_gradient(const T* rows, Index stride, const Strip& strip, T* z,
                          Index frequency) const;
  Index strip_pixels(const Strip& strip) const;  // of the output
  Index first_pixel(const Strip& strip) const;

  /// Sums of the weight gradient, transformed: u[frequency][channel][out_stride].
  Index u_frequency() const { return frequency_stride(pass_.in_channels, out_stride_); }
  Index u_values() const { return frequencies() * u_frequency(); }
  /// What tiles of both transforms give to u, added to what stands there or not.
  void multiply_gradient(const T* v, Index v_frequency, const T* z, Index z_frequency, Index tiles,
                         T* u, bool accumulate) const;

  /// The weight gradient of a block of channels and filters from u[frequency][channel][filters].
  /// Frequencies stand u_frequency values apart.
  void unpack_gradient(const T* u, Index channel, Index channels, Index filter, Index filters,
                       Index u_stride, Index u_frequency, T* gradient) const;

 private:
  static Index tile_stride(Index channels);
  Index panel_frequency(Index panel) const {
    return frequency_stride(pass_.in_channels, panel_width(panel));
  }
  template <class Copy>
  T* border_lines(const Strip& strip, T* border, Copy copy) const;

  Pass pass_;
  int m_, lanes_;
  Index in_stride_, out_stride_, panel_;
  Index high_, wide_;             // tiles of a sample
  Index rows_ = 1, samples_ = 1;  // of a strip
};

}  // namespace piste
