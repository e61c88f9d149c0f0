#pragma once
// Pooling of NCHW volumes by kernels for NHWC rows: a group of as many volumes as a vector has
// lanes is transposed in scratch, one band of its outermost axis at a time, so that it stays in
// the cache whatever the number of channels and the size of a volume.

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/pool_spans.h"
#include "piste/tensor.h"

namespace piste {

struct PoolProblem {
  Index volumes;  // N * C
  Index in[3], out[3];
  PoolSpans spans;

  /// x (N, C, D, H, W) and y (N, C, Do, Ho, Wo), without spans yet.
  PoolProblem(const char* tag, const Shape& x, const Shape& y);

  Index in_pixels() const { return in[0] * in[1] * in[2]; }
  Index out_pixels() const { return out[0] * out[1] * out[2]; }
  /// Whether every window is the whole volume.
  bool global() const;
};

/// One group's band: the outputs [out_begin, out_end) of the outermost axis that has an extent, and
/// the inputs [in_begin, in_end) that their windows reach.
struct PoolBand {
  Index out_begin, out_end, in_begin, in_end;
};

template <class T>
class PoolPlanes {
 public:
  /// Bands that part the outputs (forward) or the inputs (backward: with all outputs that reach
  /// them, and all inputs that those reach). max: argmax is needed, too.
  PoolPlanes(const PoolProblem& problem, bool backward, bool max);

  struct Block {
    kernels::PoolGeometry geometry;  // of the band
    PoolBand band;
    Index first_volume, in_at, out_at;  // where the band lies within a volume
    Index own_begin, own_end;           // backward: the inputs that are this band's
    T *x, *y;                           // rows in scratch
    std::int32_t* argmax;
  };

  /// body(block) for all groups' bands, in parallel.
  template <class Body>
  void for_each(Body&& body) const {
    const Index tasks = checked_mul(groups_, static_cast<Index>(bands_.size()));
    const Workspace workspace(checked_mul(parallel_workers(tasks), bytes_));
    parallel_for(tasks, [&](Index task, int worker) {
      body(block(task, workspace.data() + worker * bytes_));
    });
  }

  void gather_x(const Block& b, const T* x) const {
    gather(b, x, problem_.in_pixels(), b.in_at, in_pixels(b), b.x);
  }
  void gather_y(const Block& b, const T* y) const {
    gather(b, y, problem_.out_pixels(), b.out_at, out_pixels(b), b.y);
  }
  void scatter_y(const Block& b, T* y) const {
    scatter(b, b.y, out_pixels(b), y + b.first_volume * problem_.out_pixels() + b.out_at,
            problem_.out_pixels());
  }
  /// The band's own inputs only.
  void scatter_x(const Block& b, T* x) const {
    const Index skipped = (b.own_begin - b.band.in_begin) * in_row_;
    scatter(b, b.x + skipped * lanes_, (b.own_end - b.own_begin) * in_row_,
            x + b.first_volume * problem_.in_pixels() + b.own_begin * in_row_,
            problem_.in_pixels());
  }
  void scatter_indices(const Block& b, Index* indices) const {
    for (Index c = 0; c < b.geometry.channels; ++c) {
      Index* to = indices + (b.first_volume + c) * problem_.out_pixels() + b.out_at;
      for (Index i = 0; i < out_pixels(b); ++i) {
        const Index pixel = b.argmax[i * lanes_ + c];
        to[i] = pixel < 0 ? -1 : pixel + b.in_at;
      }
    }
  }

 private:
  Block block(Index task, std::byte* scratch) const;
  void make_bands(bool backward);

  Index in_pixels(const Block& b) const { return (b.band.in_end - b.band.in_begin) * in_row_; }
  Index out_pixels(const Block& b) const { return (b.band.out_end - b.band.out_begin) * out_row_; }
  void gather(const Block& b, const T* from, Index volume, Index at, Index pixels, T* rows) const {
    kernel_table<T>().layout->transpose(from + b.first_volume * volume + at, volume, rows, lanes_,
                                        b.geometry.channels, pixels, lanes_);
  }
  void scatter(const Block& b, const T* rows, Index pixels, T* to, Index volume) const {
    kernel_table<T>().layout->transpose(rows, lanes_, to, volume, pixels, b.geometry.channels,
                                        pixels);
  }

  struct Band : PoolBand {
    Index own_begin, own_end;
    std::vector<PoolSpan> spans;  // of the outermost axis, within the band
  };

  const PoolProblem& problem_;
  Index lanes_, groups_;
  int outermost_;           // axis that is cut
  Index in_row_, out_row_;  // pixels of one coordinate of that axis
  std::vector<Band> bands_;
  Index x_bytes_ = 0, y_bytes_ = 0, bytes_ = 0;
};

extern template class PoolPlanes<float>;
extern template class PoolPlanes<double>;

}  // namespace piste
