#pragma once
// Matrix products whose left side is read through row pointers, so that a convolution needs no
// im2col: a row is one tap of one pixel, channels contiguous. Linear layers are the case of one
// tap.

#include "piste/index.h"

namespace piste::kernels {

/// out[r][j] (+)= sum over taps t and channels c of rows[t][r][c] * panels[t][c][j], for the rows
/// of a tile and j < vectors * lanes.
template <class T>
struct GemmTile {
  const T* const* rows;                 // [rows of the tile]: what the first tap of each reads
  const Index* offsets;                 // [taps]: from there to what the others read
  const T* const* panels;               // [taps]: [channels][vectors * lanes], packed weights
  Index taps, channels, first_channel;  // channels first_channel... of each row
  T* const* out;                        // [rows of the tile]
  Index first_column;                   // where in an output row the tile's columns begin
  const T* bias;                        // vectors * lanes values that the sums start from, or null
  bool relu;                            // max(., 0) at the end, NaN kept
  int columns;              // values stored per row; below vectors * lanes only the first ones
  bool accumulate = false;  // what stands in out is added, before the maximum
};

/// to[r][offsets[t] + j] += sum over channels c of from[r][c] * panels[t][c][j], for rows r, runs t
/// and j < values: what pixels give to those that their taps read. Whole vectors may be read and
/// written there. Rows next to each other are best far apart in `to`: then none waits for another.
template <class T>
struct SpreadTile {
  Index rows, runs, channels, values;
  const T* const* from;  // [rows]
  T* const* to;          // [rows]
  const Index* offsets;  // [runs]
  const T* panels;       // [runs][channels][values, up to whole vectors]
};

/// gradient[c][j] (+)= sum over pixels p of x[p][first_channel + c] * dy[p][first_column + j]: the
/// outer products that a weight's gradient is made of, for one tap.
template <class T>
struct OuterTile {
  const T* const* x;   // [pixels]
  const T* const* dy;  // [pixels], each read up to vectors * lanes
  Index first_channel, first_column, pixels;
  T* gradient;  // [channels][gradient_stride]
  Index channels, gradient_stride;
  bool accumulate;
};

/// Taps of one value each that stand one behind the other are a run of as many "channels".
inline constexpr int longest_line = 7;

template <class T>
struct GemmKernels {
  int tile_rows[3];  // rows of a full tile of 1, 2, ... vectors; tile() takes up to as many
  int tile_vectors;  // vectors of a full panel; tile() and outer() take 1 to tile_vectors
  void (*tile)(int rows, int vectors, const GemmTile<T>& tile);
  /// tile() with the same results for one vector and rows one value apart, rows[r] = rows[0] + r,
  /// which are read once: line_rows[channels] rows, for those channels where that is not 0.
  int line_rows[longest_line + 1];
  void (*line)(const GemmTile<T>& tile);
  void (*spread)(const SpreadTile<T>& tile);
  /// rows[p * stride + c] = dense[p * channels + c] for c < channels, else 0, for p < pixels;
  /// stride is a multiple of the lanes. `dense` is read up to a vector past its end.
  void (*widen)(const T* dense, Index channels, T* rows, Index stride, Index pixels);
  void (*outer)(int vectors, const OuterTile<T>& tile);
  /// out[i] = parts[0][offset + i] + parts[1][offset + i] + ..., in that order, for i < n.
  void (*sum)(const T* const* parts, Index count, Index offset, T* out, Index n);
  /// sums[j] (+)= sum over rows of x[row * stride + j] for j < n.
  void (*column_sums)(const T* x, Index rows, Index stride, T* sums, Index n, bool accumulate);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::GemmKernels<float> gemm_f32;
extern const kernels::GemmKernels<double> gemm_f64;
}  // namespace piste::PISTE_ISA
#endif
