#pragma once

#include "base/parallel.h"
#include "dispatch/dispatch.h"

namespace piste {

/// Element (i, j) is data[i * stride + j], of a transposed matrix data[j * stride + i].
template <class T>
struct Matrix {
  T* data = nullptr;
  Index stride = 0;
  bool transposed = false;

  T* at(Index i, Index j) const { return data + (transposed ? j * stride + i : i * stride + j); }
  Matrix turned() const { return {data, stride, !transposed}; }
};

/// c (rows x columns) = f(start + a (rows x depth) b (depth x columns)), where f is max(., 0) for
/// relu, and start is c itself to accumulate, else the bias along c's contiguous axis, else zero.
/// c overlaps neither a nor b.
template <class T>
struct Product {
  Index rows, columns, depth;
  Matrix<const T> a, b;
  Matrix<T> c;
  const T* bias = nullptr;
  bool accumulate = false, relu = false;
};

/// One product in independent tasks, which its shape alone fixes: the pack tasks, if any, then,
/// when all have ended, the tasks. Serial and free of allocation; the caller brings the threads and
/// the memory. Each element of c is written by one task only.
template <class T>
class Matmul {
 public:
  explicit Matmul(const Product<T>& product);

  Index tasks() const { return row_blocks_.count * column_blocks_.count; }
  /// The part of c that a task computes.
  struct Block {
    Index row, rows, column, columns;
  };
  Block block(Index task) const;
  void run(Index task, const T* packed, T* scratch) const;

  Index pack_tasks() const { return pack_a_.count + pack_b_.count; }
  Index packed_size() const { return packed_a_size() + packed_b_size(); }
  void pack(Index task, T* packed) const;

  /// Values of scratch memory for a task of any product.
  static Index scratch_size();

 private:
  enum class Manner { dot, stream, panels };

  /// Columns in panels of whole vectors, as even as can be.
  Index panel_begin(Index panel) const { return panels_.begin(panel) * kernels_.lanes; }
  Index panel_width(Index panel) const { return panel_begin(panel + 1) - panel_begin(panel); }
  Index packed_a_size() const;
  Index packed_b_size() const;
  Index same_width(Index panel, Index end) const;

  void choose_manner();
  void choose_blocks();
  void pack_columns(Index panel, Index end, Index k, Index depth, T* to, Index to_depth) const;
  void run_panels(const Block& block, const T* packed, T* scratch) const;

  const kernels::Table<T>& kernels_ = kernel_table<T>();
  Product<T> p_;
  bool turned_ = false;
  Manner manner_ = Manner::panels;
  Split panels_{0, 1}, row_blocks_{0, 1}, column_blocks_{0, 1};  // blocks: of tiles and of panels
  Split pack_a_{0, 1}, pack_b_{0, 1};
};

/// All tasks of some products, in parallel.
template <class T>
void run(const Matmul<T>* products, int count);

template <class T>
void matmul(const Product<T>& product);

}  // namespace piste
