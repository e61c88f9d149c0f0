#include "ops/matmul.h"

#include <optional>
#include <utility>

#include "base/workspace.h"
#include "ops/matmul_blocks.h"

namespace piste {

using namespace matmul_blocks;

namespace {

/// n units in at most `count` parts.
Split into(Index n, Index count) { return Split(n, 1, std::max<Index>(count, 1)); }

}  // namespace

template <class T>
Matmul<T>::Matmul(const Product<T>& product, Index wanted_tasks)
    : kernels_(kernel_table<T>()), p_(product) {
  const Index moved = p_.rows * p_.columns + p_.depth * (p_.rows + p_.columns);
  work_ = 2 * p_.rows * p_.columns * p_.depth + 8 * moved;
  wanted_tasks_ = wanted_tasks ? wanted_tasks : std::clamp<Index>(work_ / task_work, 1, most_tasks);
  choose_manner();
  choose_blocks();
}

template <class T>
void Matmul<T>::turn() {
  std::swap(p_.rows, p_.columns);
  p_.a = std::exchange(p_.b, p_.a.turned()).turned();
  p_.c = p_.c.turned();
  turned_ = !turned_;
}

template <class T>
bool Matmul<T>::suits_dots() const {
  const Index fewer = std::min(p_.rows, p_.columns), vectors = p_.depth / kernels_.lanes;
  if (p_.rows * p_.columns <= 16 * kernels_.lanes) return true;
  if (fewer <= dot_rows) return vectors >= dot_vectors;
  return fewer <= long_dot_rows && vectors >= long_dot_vectors &&
         fewer * p_.depth * Index(sizeof(T)) <= a_bytes;
}

// Packing costs time per value, so the smaller side should be the packed one, or none.
template <class T>
void Matmul<T>::choose_manner() {
  if (p_.a.tile) return;
  if (p_.c.transposed) turn();
  const bool along_depth = !p_.a.transposed && p_.b.transposed;
  const bool across_depth = p_.a.transposed && p_.b.transposed;
  if (along_depth && !p_.accumulate && suits_dots()) {
    manner_ = Manner::dot;
    if (p_.rows > p_.columns) turn();
  } else if (!p_.b.transposed && p_.depth > 0 && std::min(p_.rows, p_.depth) <= stream_rows) {
    manner_ = Manner::stream;
  } else if (across_depth || (along_depth && p_.rows < std::min(p_.columns, turned_rows))) {
    turn();
  }
}

template <class T>
void Matmul<T>::choose_blocks() {
  if (p_.rows == 0 || p_.columns == 0) return;  // no tasks
  Index row_blocks = 1, column_blocks = wanted_tasks_;
  if (manner_ == Manner::panels) return split_panels();
  if (manner_ == Manner::dot) {
    row_unit_ = std::max<Index>(p_.rows, 1), column_unit_ = 4;
  } else {
    row_unit_ = 3, column_unit_ = 16 * kernels_.lanes;
    if (p_.rows > stream_rows) std::swap(row_blocks, column_blocks);
  }
  row_blocks_ = into(parts(p_.rows, row_unit_), row_blocks);
  column_blocks_ = into(parts(p_.columns, column_unit_), column_blocks);
  if (p_.rows * p_.columns <= skinny_values && p_.depth >= skinny_depth && tasks() == 1)
    parts_ = std::min(wanted_tasks_, skinny_parts);
}

template <class T>
void Matmul<T>::split_panels() {
  row_unit_ = tile_rows();
  panels_ = {p_.columns, kernels_.lanes,
             into(parts(p_.columns, kernels_.lanes),
                  parts(p_.columns, kernels_.lanes * kernels_.matmul->tile_vectors))};
  const Index tiles = parts(p_.rows, row_unit_);
  Index block_tiles = a_bytes / (depth_block() * row_unit_ * Index(sizeof(T)));
  if (p_.c.transposed)
    block_tiles =
        std::clamp<Index>(c_bytes / (p_.columns * row_unit_ * Index(sizeof(T))), 1, block_tiles);
  const bool skinny = p_.rows * p_.columns <= skinny_values && p_.depth >= skinny_depth;
  if (skinny) parts_ = std::min(wanted_tasks_, skinny_parts);
  Index row_blocks = parts(tiles, block_tiles),
        column_blocks = parts(panels_.count(), block_panels);
  while (parts_ * row_blocks * column_blocks < wanted_tasks_) {
    const Index rows = tiles * row_unit_ / row_blocks, columns = p_.columns / column_blocks;
    const bool can_rows = 2 * row_blocks <= tiles,
               can_columns = 2 * column_blocks <= panels_.count();
    if (can_rows && (rows >= columns || !can_columns))
      row_blocks *= 2;
    else if (can_columns)
      column_blocks *= 2;
    else
      break;
  }
  row_blocks_ = into(tiles, row_blocks);
  column_blocks_ = into(panels_.count(), column_blocks);
  const auto shared = [&](Index values, bool again) {
    return again && parts_ == 1 && values > 0 && values * Index(sizeof(T)) <= shared_bytes;
  };
  const Index a = p_.rows * p_.depth, b = p_.columns * p_.depth;
  const auto tasks = [](Index values) {
    return std::clamp<Index>(values / pack_values, 1, most_tasks);
  };
  if (packs_a() && shared(a, column_blocks_.count > 1))
    pack_a_ = into(p_.a.transposed ? parts(p_.depth, pack_rows) : tiles, tasks(a));
  if (shared(b, row_blocks_.count > 1))
    pack_b_ = into(p_.b.transposed ? panels_.count() : parts(p_.depth, pack_rows), tasks(b));
}

/// Rows along the depth can be read as they are; packed they are read faster, if often enough.
template <class T>
bool Matmul<T>::packs_a() const {
  return p_.a.transposed || (!p_.a.tile && p_.columns >= packed_columns);
}

template <class T>
Index Matmul<T>::depth_block() const {
  return panel_bytes / (kernels_.matmul->tile_vectors * kernels_.lanes * Index(sizeof(T)));
}

template <class T>
Index Matmul<T>::packed_a_size() const {
  return pack_a_.count ? aligned(parts(p_.rows, tile_rows()) * tile_rows() * p_.depth) : 0;
}

template <class T>
Index Matmul<T>::packed_b_size() const {
  return pack_b_.count ? aligned(panels_.begin(panels_.count()) * p_.depth) : 0;
}

template <class T>
Index Matmul<T>::memory_size() const {
  if (parts_ > 1) return aligned(parts_ * p_.rows * p_.columns);
  return packed_a_size() + packed_b_size();
}

template <class T>
Index Matmul<T>::scratch_a_size() const {
  if (!packs_a() || pack_a_.count || !row_blocks_.count) return 0;
  return aligned(row_blocks_.end(0) * tile_rows() * std::min(p_.depth, depth_block()));
}

/// Of a transposed c, the block that a task computes in scratch memory.
template <class T>
Index Matmul<T>::c_values() const {
  if (!p_.c.transposed) return 0;
  return aligned(row_blocks_.end(0) * tile_rows() * panels_.begin(column_blocks_.end(0)));
}

template <class T>
Index Matmul<T>::scratch_size() const {
  if (manner_ != Manner::panels || !tasks()) return 0;
  const Index depth = std::min(p_.depth, depth_block());
  if (pack_b_.count) return scratch_a_size() + c_values();
  return scratch_a_size() + c_values() +
         std::min(panels_.begin(panels_.count()) * depth,
                  (b_bytes + panel_bytes) / Index(sizeof(T)));
}

template <class T>
typename Matmul<T>::Block Matmul<T>::stored_block(Index task) const {
  task %= row_blocks_.count * column_blocks_.count;
  const Index i = task / column_blocks_.count, j = task % column_blocks_.count;
  const auto column_at = [&](Index unit) {
    const Index at = manner_ == Manner::panels ? panels_.begin(unit) : unit * column_unit_;
    return std::min(at, p_.columns);
  };
  const Index row = row_blocks_.begin(i) * row_unit_;
  const Index column = column_at(column_blocks_.begin(j));
  return {row, std::min(row_blocks_.end(i) * row_unit_, p_.rows) - row, column,
          column_at(column_blocks_.end(j)) - column};
}

template <class T>
typename Matmul<T>::Block Matmul<T>::block(Index task) const {
  const Block b = stored_block(task);
  return turned_ ? Block{b.column, b.columns, b.row, b.rows} : b;
}

/// The whole product, or the task's part of the depth summed into memory.
template <class T>
Product<T> Matmul<T>::part_of(Index task, T* memory) const {
  Product<T> p = p_;
  if (parts_ == 1) return p;
  const Index part = task / (row_blocks_.count * column_blocks_.count);
  const Index k = p.depth * part / parts_, end = p.depth * (part + 1) / parts_;
  p.depth = end - k;
  p.a.data = p.a.at(0, k);
  p.b.data = p.b.at(k, 0);
  p.c.data = memory + part * p.rows * p.columns;
  p.c.stride = p.c.transposed ? p.rows : p.columns;
  p.bias = p.line_bias = nullptr;
  p.accumulate = p.relu = false;
  return p;
}

template <class T>
void Matmul<T>::run(Index task, T* memory, T* scratch) const {
  const Product<T> p = part_of(task, memory);
  const Block b = stored_block(task);
  switch (manner_) {
    case Manner::dot:
      return run_dot(p, b);
    case Manner::stream:
      return run_stream(p, b);
    case Manner::panels: {
      const Index blocks = task % column_blocks_.count;
      return run_panels(p, b, column_blocks_.begin(blocks), column_blocks_.end(blocks), memory,
                        scratch);
    }
  }
}

template <class T>
void Matmul<T>::run_dot(const Product<T>& p, const Block& block) const {
  const bool t = p.c.transposed, down = p.line_bias ? !t : t;  // a value of the bias per row
  const T* bias = p.line_bias ? p.line_bias : p.bias;
  kernels_.matmul->dot({block.rows, block.columns, p.depth, p.a.at(block.row, 0), p.a.stride,
                        p.b.at(0, block.column), p.b.stride, p.c.at(block.row, block.column),
                        t ? 1 : p.c.stride, t ? p.c.stride : 1,
                        bias ? bias + (down ? block.row : block.column) : nullptr, down ? 1 : 0,
                        down ? 0 : 1, p.relu});
}

template <class T>
void Matmul<T>::run_stream(const Product<T>& p, const Block& block) const {
  kernels_.matmul->stream({block.rows, block.columns, p.depth, p.a.at(block.row, 0),
                           p.a.transposed ? 1 : p.a.stride, p.a.transposed ? p.a.stride : 1,
                           p.b.at(0, block.column), p.b.stride, p.c.at(block.row, block.column),
                           p.c.stride, p.bias ? p.bias + block.column : nullptr,
                           p.line_bias ? p.line_bias + block.row : nullptr, p.accumulate, p.relu});
}

/// c = f(start + the parts in their order), line by line of its memory.
template <class T>
void Matmul<T>::finish(const T* memory) const {
  T ones[skinny_parts];
  std::fill_n(ones, skinny_parts, T(1));
  const Index lines = p_.c.transposed ? p_.columns : p_.rows;
  const Index length = p_.c.transposed ? p_.rows : p_.columns;
  for (Index line = 0; line < lines; ++line)
    kernels_.matmul->stream({1, length, parts_, ones, 0, 1, memory + line * length, lines * length,
                             p_.c.data + line * p_.c.stride, p_.c.stride, p_.bias,
                             p_.line_bias ? p_.line_bias + line : nullptr, p_.accumulate, p_.relu});
}

template <class T>
void run(std::span<const Matmul<T>> products, Index more_tasks, TaskRef more) {
  Index memory = 0, scratch = 0, packs = 0, tasks = more_tasks, work = 0;
  for (const Matmul<T>& product : products) {
    memory += product.memory_size();
    scratch = std::max(scratch, product.scratch_size());
    packs += product.pack_tasks();
    tasks += product.tasks();
    work += product.work();
  }
  // Little work is one task: a parallel region costs some microseconds.
  const bool alone = work < 2 * task_work;
  const auto each = [&](Index count, TaskRef body) {
    if (!alone) return parallel_for(count, body);
    parallel_for(1, [&](Index, int) {
      for (Index task = 0; task < count; ++task) body(task, 0);
    });
  };
  const Index workers = alone ? 1 : parallel_workers(tasks);
  std::optional<Workspace> workspace;
  if (memory + scratch > 0) workspace.emplace((memory + scratch * workers) * sizeof(T));
  T* const shared = workspace ? workspace->as<T>() : nullptr;
  // Calls on(product, its task, its memory) for a task among those of all products.
  const auto among = [&](Index task, auto count, auto on) {
    T* own = shared;
    for (const Matmul<T>& product : products) {
      if (task < count(product)) return on(product, task, own);
      task -= count(product);
      own += product.memory_size();
    }
    more(task, 0);
  };
  if (packs)
    each(packs, [&](Index task, int) {
      among(
          task, [](const auto& p) { return p.pack_tasks(); },
          [](const auto& p, Index own, T* at) { p.pack(own, at); });
    });
  each(tasks, [&](Index task, int worker) {
    among(
        task, [](const auto& p) { return p.tasks(); },
        [&](const auto& p, Index own, T* at) {
          p.run(own, at, shared + memory + worker * scratch);
        });
  });
  T* own = shared;
  for (const Matmul<T>& product : products) {
    if (product.finish_tasks()) each(1, [&](Index, int) { product.finish(own); });
    own += product.memory_size();
  }
}

template <class T>
void matmul(const Product<T>& product) {
  const Matmul<T> whole(product);
  run<T>({&whole, 1}, 0, [](Index, int) {});
}

template class Matmul<float>;
template class Matmul<double>;
template void run(std::span<const Matmul<float>>, Index, TaskRef);
template void run(std::span<const Matmul<double>>, Index, TaskRef);
template void matmul(const Product<float>&);
template void matmul(const Product<double>&);

}  // namespace piste
