#pragma once

#include <algorithm>
#include <span>

#include "base/parallel.h"
#include "dispatch/dispatch.h"

namespace piste {

/// Element (i, j) is data[i * stride + j], of a transposed matrix data[j * stride + i], and of one
/// in tiles of rows (a alone may be) data[(i / tile * stride + j) * tile + i % tile].
template <class T>
struct Matrix {
  T* data = nullptr;
  Index stride = 0;
  bool transposed = false;
  Index tile = 0;

  T* at(Index i, Index j) const {
    if (tile) return data + (i / tile * stride + j) * tile + i % tile;
    return data + (transposed ? j * stride + i : i * stride + j);
  }
  Matrix turned() const { return {data, stride, !transposed}; }
};

/// c (rows x columns) = f(start + a (rows x depth) b (depth x columns)), where f is max(., 0) for
/// relu, and start is c itself to accumulate, else the bias along c's contiguous axis, or one for
/// each line of c, else (both null) zero. c overlaps neither a nor b.
template <class T>
struct Product {
  Index rows, columns, depth;
  Matrix<const T> a, b;
  Matrix<T> c;
  const T* bias = nullptr;
  bool accumulate = false, relu = false;
  const T* line_bias = nullptr;
};

/// A product as tasks that its shape alone fixes, in three phases: pack, run, finish. The tasks of
/// a phase are independent, and serial and free of allocation: the caller brings threads and
/// memory. Values of `memory` are shared by all tasks, those of `scratch` belong to one worker.
/// Most products have nothing to pack or to finish; then a task of run leaves its block of c done,
/// and the caller may go on with it while it lies in the cache.
template <class T>
class Matmul {
 public:
  /// Cut into about `wanted_tasks` tasks, or (0) as its work deserves.
  explicit Matmul(const Product<T>& product, Index wanted_tasks = 0);

  Index memory_size() const;
  Index scratch_size() const;

  Index pack_tasks() const { return pack_a_.count + pack_b_.count; }
  void pack(Index task, T* memory) const;

  Index tasks() const { return parts_ * row_blocks_.count * column_blocks_.count; }
  void run(Index task, T* memory, T* scratch) const;

  Index finish_tasks() const { return parts_ > 1 ? 1 : 0; }
  void finish(const T* memory) const;

  /// The part of c that a task computes (with finish_tasks: that it takes part in).
  struct Block {
    Index row, rows, column, columns;
  };
  Block block(Index task) const;
  Index columns() const { return turned_ ? p_.rows : p_.columns; }

  /// A measure of its time: flops, or what moving its values costs.
  Index work() const { return work_; }

 private:
  /// dot: both sides are read along the depth. stream: b is read along its rows, as it is. panels:
  /// register tiles over packed columns of b.
  enum class Manner { dot, stream, panels };

  /// Columns of c in panels of whole vectors, as even as can be.
  struct Panels {
    Index columns, lanes;
    Split split{0, 1};
    Index count() const { return split.count; }
    Index begin(Index panel) const { return split.begin(panel) * lanes; }
    Index width(Index panel) const { return begin(panel + 1) - begin(panel); }
    Index valid(Index panel) const { return std::min(width(panel), columns - begin(panel)); }
    /// Panels [panel, result) have the same width.
    Index same_width(Index panel, Index end) const;
  };

  void turn();
  bool suits_dots() const;
  void choose_manner();
  void choose_blocks();
  void split_panels();
  bool packs_a() const;
  Index tile_rows() const { return kernels_.matmul->tile_rows; }
  Index depth_block() const;
  Index packed_a_size() const;
  Index packed_b_size() const;
  Index scratch_a_size() const;
  Index c_values() const;
  void pack_columns(const Matrix<const T>& b, Index panel, Index end, Index k, Index depth, T* to,
                    Index to_depth) const;
  Block stored_block(Index task) const;
  Product<T> part_of(Index task, T* memory) const;
  void run_dot(const Product<T>& p, const Block& block) const;
  void run_stream(const Product<T>& p, const Block& block) const;
  void run_panels(const Product<T>& p, const Block& block, Index first, Index end, const T* memory,
                  T* scratch) const;
  void multiply_panels(const Product<T>& p, const Block& block, Index first, Index end, T* c,
                       const T* memory, T* scratch) const;
  void point_to_a(const Product<T>& p, const Block& block, Index k, const T* memory, T* scratch,
                  kernels::MatmulPanel<T>& panel) const;

  const kernels::Table<T>& kernels_;
  Product<T> p_;  // turned where that is better: c^T = b^T a^T
  bool turned_ = false;
  Manner manner_ = Manner::panels;
  Index work_, wanted_tasks_;
  Panels panels_;
  Index row_unit_ = 1, column_unit_ = 1;
  Split row_blocks_{0, 1}, column_blocks_{0, 1};  // of row units; of column units, or panels
  Index parts_ = 1;                               // of the depth, each summed apart
  Split pack_a_{0, 1}, pack_b_{0, 1};             // shared by the tasks; else each packs its own
};

/// Whether tiles are the best order of an a that many products read.
bool tiles_pay(Index rows, Index depth);

/// Rows of a to tiles of `depth` steps.
template <class T>
void pack_tiles(const Matrix<const T>& a, Index rows, Index depth, T* tiles);

inline Index parts(Index n, Index part) { return (n + part - 1) / part; }
inline Index aligned(Index values) { return parts(values, 16) * 16; }

/// All tasks of the products, then more(0), more(1), ... of `more_tasks`, in parallel.
template <class T>
void run(std::span<const Matmul<T>> products, Index more_tasks, TaskRef more);

template <class T>
void matmul(const Product<T>& product);

}  // namespace piste
