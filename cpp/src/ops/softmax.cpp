#include <algorithm>

#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/elementwise.h"
#include "piste/activation.h"

namespace piste {
namespace {

constexpr Index cached_bytes = 1 << 17;  // of x that several passes go over
constexpr Index row_values = 1 << 12;    // of rows that several passes go over, in L1
constexpr Index short_row = 64;          // values that don't fill enough vectors

/// Softmax of x (outer, channels, inner) in one of three ways: rows of contiguous values; columns
/// side by side; or columns made of several short pieces of memory by transposing them.
template <class T>
class Softmax {
 public:
  Softmax(const View<const T>& x, const Shape& other) {
    check(x.shape.rank() == 3, "softmax", "expected (outer, channels, inner), got ", x.shape);
    check(other == x.shape, "softmax", "input has shape ", x.shape, " but the other array has ",
          other);
    outer_ = x.shape[0];
    channels_ = x.shape[1];
    inner_ = x.shape[2];
    const Index lanes = kernel_table<T>().lanes, piece = std::max<Index>(channels_ * inner_, 1);
    transposed_ = inner_ < lanes && piece <= (inner_ == 1 ? short_row : cached / lanes);
    if (transposed_)
      width_ = std::clamp(cached / piece / lanes * lanes, lanes, 8 * lanes);
    else if (inner_ > 1)
      width_ = std::clamp(cached / std::max<Index>(channels_, 1) / lanes * lanes, lanes,
                          kernels::softmax_columns);
  }

  /// rows(first value, rows), columns(first value, columns), pieces(first piece, pieces, scratch)
  template <class Rows, class Columns, class Pieces>
  void run(Index arrays, Rows&& rows, Columns&& columns, Pieces&& pieces) const {
    const Index piece = channels_ * inner_;
    if (outer_ == 0 || piece == 0) return;
    if (transposed_) {
      const Index scratch = arrays * piece * width_;
      const Split tasks = even_split(outer_, std::max<Index>(elementwise_grain / piece, width_));
      const Workspace workspace(parallel_workers(tasks.count) * scratch * sizeof(T));
      parallel_for(tasks.count, [&](Index task, int worker) {
        for (Index i = tasks.begin(task); i < tasks.end(task); i += width_)
          pieces(i, std::min(width_, tasks.end(task) - i), workspace.as<T>() + worker * scratch);
      });
    } else if (inner_ == 1) {
      const Split tasks = even_split(outer_, std::max<Index>(elementwise_grain / channels_, 1));
      const Index at_once = std::max<Index>(row_values / channels_, 1);
      parallel_for(tasks.count, [&](Index task, int) {
        for (Index i = tasks.begin(task); i < tasks.end(task); i += at_once)
          rows(i * channels_, std::min(at_once, tasks.end(task) - i));
      });
    } else {
      const Index blocks = (inner_ + width_ - 1) / width_;
      parallel_for(outer_ * blocks, [&](Index task, int) {
        const Index first = task % blocks * width_;
        columns(task / blocks * piece + first, std::min(width_, inner_ - first));
      });
    }
  }

  /// Pieces of memory to columns, and back.
  void gather(const T* from, Index pieces, T* to) const {
    const Index piece = channels_ * inner_;
    kernel_table<T>().layout->transpose(from, piece, to, width_, pieces, piece, width_);
  }
  void scatter(const T* from, Index pieces, T* to) const {
    const Index piece = channels_ * inner_;
    kernel_table<T>().layout->transpose(from, width_, to, piece, piece, pieces, piece);
  }

  Index channels_, inner_, width_ = 0;

 private:
  static constexpr Index cached = cached_bytes / sizeof(T);
  Index outer_;
  bool transposed_;
};

}  // namespace

template <class T>
void softmax(View<const T> x, View<T> y, bool log) {
  const auto& kernels = *kernel_table<T>().softmax;
  const Softmax<T> s(x, y.shape);
  const Index channels = s.channels_, inner = s.inner_;
  s.run(
      1,
      [&](Index at, Index rows) {
        (log ? kernels.log_softmax : kernels.softmax)(x.data + at, y.data + at, rows, channels,
                                                      channels);
      },
      [&](Index at, Index columns) {
        kernels.columns(x.data + at, y.data + at, channels, inner, columns, log);
      },
      [&](Index first, Index pieces, T* scratch) {
        const Index at = first * channels * inner;
        s.gather(x.data + at, pieces, scratch);
        for (Index i = 0; i < inner; ++i)
          kernels.columns(scratch + i * s.width_, scratch + i * s.width_, channels,
                          inner * s.width_, s.width_, log);
        s.scatter(scratch, pieces, y.data + at);
      });
}

// dx serves as the softmax's memory, part by part, so that this stays in the cache.
template <class T>
void softmax_backward(View<const T> dy, View<const T> x, View<T> dx, bool log) {
  check_same_shape("softmax", "grad_output", dy, "input", x);
  const auto& kernels = *kernel_table<T>().softmax;
  const Softmax<T> s(x, dx.shape);
  const Index channels = s.channels_, inner = s.inner_;
  s.run(
      2,
      [&](Index at, Index rows) {
        (log ? kernels.log_softmax_gradient : kernels.softmax_gradient)(
            dy.data + at, x.data + at, dx.data + at, rows, channels, channels);
      },
      [&](Index at, Index columns) {
        T* y = dx.data + at;
        kernels.columns(x.data + at, y, channels, inner, columns, log);
        kernels.columns_backward(dy.data + at, y, y, channels, inner, columns, log);
      },
      [&](Index first, Index pieces, T* scratch) {
        const Index at = first * channels * inner;
        T* dy_columns = scratch + channels * inner * s.width_;
        s.gather(x.data + at, pieces, scratch);
        s.gather(dy.data + at, pieces, dy_columns);
        for (Index i = 0; i < inner; ++i) {
          T* y = scratch + i * s.width_;
          kernels.columns(y, y, channels, inner * s.width_, s.width_, log);
          kernels.columns_backward(dy_columns + i * s.width_, y, y, channels, inner * s.width_,
                                   s.width_, log);
        }
        s.scatter(scratch, pieces, dx.data + at);
      });
}

template void softmax(View<const float>, View<float>, bool);
template void softmax(View<const double>, View<double>, bool);
template void softmax_backward(View<const float>, View<const float>, View<float>, bool);
template void softmax_backward(View<const double>, View<const double>, View<double>, bool);

}  // namespace piste
