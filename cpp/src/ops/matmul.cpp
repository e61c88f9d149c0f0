#include "ops/matmul.h"

#include <algorithm>
#include <utility>

#include "base/workspace.h"

namespace piste {
namespace {

// Blocks, by bytes: a panel of b stays in L1 while all rows of a block of a pass by it from L2.
Index knob(const char* name, Index value) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : value;
}
const Index depth_block = knob("KC", 256);
const Index a_block_bytes = knob("AB", 256) << 10, b_block_bytes = knob("BB", 128) << 10;
const Index dot_limit = knob("DOT", 8), stream_limit = knob("STREAM", 8),
            turn_limit = knob("TURN", 256);
const Index task_work = knob("GRAIN", 1 << 20);
const Index many_tasks = knob("MANY", 16);
const Index shared_limit = knob("SHARED", 1 << 20);

Index parts(Index n, Index part) { return (n + part - 1) / part; }

/// Split of n units into `count` parts.
Split into(Index n, Index count) { return Split(n, 1, std::max<Index>(count, 1)); }

}  // namespace

template <class T>
Matmul<T>::Matmul(const Product<T>& product) : p_(product) {
  choose_manner();
  choose_blocks();
}

// Whatever has to be transposed or packed costs time per value of it: it should be the smaller
// side.
template <class T>
void Matmul<T>::choose_manner() {
  const auto turn = [&] {
    p_ = {p_.columns,    p_.rows, p_.depth,      p_.b.turned(), p_.a.turned(),
          p_.c.turned(), p_.bias, p_.accumulate, p_.relu};
    turned_ = !turned_;
  };
  if (p_.c.transposed) turn();
  const bool along_depth = !p_.a.transposed && p_.b.transposed;  // both
  if (p_.depth == 0) return;
  if (along_depth && std::min(p_.rows, p_.columns) <= dot_limit && !p_.accumulate) {
    manner_ = Manner::dot;
    if (p_.rows > p_.columns) turn();
  } else if (!p_.b.transposed && std::min(p_.rows, p_.depth) <= stream_limit) {
    manner_ = Manner::stream;
  } else if (along_depth ? p_.rows < std::min(p_.columns, turn_limit)
                         : p_.a.transposed && p_.b.transposed) {
    turn();
  }
}

template <class T>
void Matmul<T>::choose_blocks() {
  const Index lanes = kernels_.lanes, tile = kernels_.matmul->tile_rows;
  panels_ =
      into(parts(p_.columns, lanes), parts(p_.columns, lanes * kernels_.matmul->tile_vectors));
  const Index tiles = parts(p_.rows, tile);
  const Index values = p_.rows * p_.columns + p_.depth * (p_.rows + p_.columns);
  const Index work = 2 * p_.rows * p_.columns * p_.depth + 8 * values;
  Index wanted = std::clamp<Index>(work / task_work, 1, many_tasks);
  if (manner_ == Manner::dot) {
    row_blocks_ = into(1, 1);
    column_blocks_ = into(parts(p_.columns, 4), wanted);
    return;
  }
  if (manner_ == Manner::stream) {
    const bool few_rows = p_.rows <= stream_limit;
    row_blocks_ = into(parts(p_.rows, 3), few_rows ? 1 : wanted);
    column_blocks_ = into(parts(p_.columns, lanes), few_rows ? wanted : 1);
    return;
  }
  const Index most_rows = std::max<Index>(a_block_bytes / Index(sizeof(T)) / depth_block / tile, 1);
  Index row_count = parts(tiles, most_rows), column_count = parts(panels_.count, 16);
  while (row_count * column_count < wanted) {
    const Index tall = tiles * tile / row_count, wide = p_.columns / column_count;
    if (tall >= wide && tall >= 2 * tile)
      row_count *= 2;
    else if (2 * column_count <= panels_.count)
      column_count *= 2;
    else if (tall >= 2 * tile)
      row_count *= 2;
    else
      break;
  }
  row_blocks_ = into(tiles, row_count);
  column_blocks_ = into(panels_.count, column_count);
  if (p_.a.transposed && p_.depth * p_.rows <= shared_limit && column_blocks_.count > 1)
    pack_a_ =
        into(parts(p_.depth, 16), std::clamp<Index>(p_.depth * p_.rows / (1 << 14), 1, many_tasks));
  if (p_.depth * p_.columns <= shared_limit && row_blocks_.count > 1)
    pack_b_ = into(p_.b.transposed ? panels_.count : parts(p_.depth, 16),
                   std::clamp<Index>(p_.depth * p_.columns / (1 << 14), 1, many_tasks));
}

template <class T>
Index Matmul<T>::packed_a_size() const {
  const Index tile = kernels_.matmul->tile_rows;
  return pack_a_.count ? parts(p_.rows, tile) * tile * p_.depth : 0;
}

template <class T>
Index Matmul<T>::packed_b_size() const {
  return pack_b_.count ? panel_begin(panels_.count) * p_.depth : 0;
}

template <class T>
Index Matmul<T>::scratch_size() {
  return (2 * a_block_bytes + b_block_bytes) / Index(sizeof(T)) + 1024;
}

template <class T>
typename Matmul<T>::Block Matmul<T>::block(Index task) const {
  const Index row_block = task / column_blocks_.count, column_block = task % column_blocks_.count;
  Index row_unit = kernels_.matmul->tile_rows, column_unit = kernels_.lanes;
  Index row = row_blocks_.begin(row_block), row_end = row_blocks_.end(row_block);
  Index column = column_blocks_.begin(column_block), column_end = column_blocks_.end(column_block);
  if (manner_ == Manner::panels) {
    column = panels_.begin(column), column_end = panels_.begin(column_end);
  } else {
    if (manner_ == Manner::dot)
      column_unit = 4, row_unit = p_.rows;
    else
      row_unit = 3;
  }
  row *= row_unit, column *= column_unit;
  Block b{row, std::min(row_end * row_unit, p_.rows) - row, column,
          std::min(column_end * column_unit, p_.columns) - column};
  return b;
}

/// Panels [panel, result) are as wide as `panel`.
template <class T>
Index Matmul<T>::same_width(Index panel, Index end) const {
  const Index width = panel_width(panel);
  while (panel < end && panel_width(panel) == width) ++panel;
  return panel;
}

// Rows [k, k + depth) of b to panels of to_depth rows, the first of which goes to `to`.
template <class T>
void Matmul<T>::pack_columns(Index panel, Index end, Index k, Index depth, T* to,
                             Index to_depth) const {
  while (panel < end) {
    const Index next = same_width(panel, end), first = panel_begin(panel);
    const Index width = panel_width(panel), size = width * to_depth;
    if (p_.b.transposed) {
      for (Index i = panel; i < next; ++i) {
        const Index column = panel_begin(i);
        kernels_.layout->transpose(p_.b.at(k, column), p_.b.stride, to + (i - panel) * size, width,
                                   std::min(width, p_.columns - column), depth, width);
      }
    } else {
      kernels_.matmul->pack(p_.b.at(k, first), p_.b.stride, depth,
                            std::min(panel_begin(next), p_.columns) - first,
                            static_cast<int>(width), to, size);
    }
    to += (next - panel) * size;
    panel = next;
  }
}

template <class T>
void Matmul<T>::pack(Index task, T* packed) const {
  const auto range = [&](const Split& split, Index i, Index unit, Index n) {
    return std::pair(split.begin(i) * unit, std::min(split.end(i) * unit, n));
  };
  if (task < pack_a_.count) {
    const auto [k, end] = range(pack_a_, task, 16, p_.depth);
    const int tile = kernels_.matmul->tile_rows;
    kernels_.matmul->pack(p_.a.at(0, k), p_.a.stride, end - k, p_.rows, tile, packed + k * tile,
                          tile * p_.depth);
    return;
  }
  packed += packed_a_size();
  task -= pack_a_.count;
  if (p_.b.transposed) {
    const Index first = pack_b_.begin(task);
    pack_columns(first, pack_b_.end(task), 0, p_.depth, packed + panel_begin(first) * p_.depth,
                 p_.depth);
    return;
  }
  const auto [k, end] = range(pack_b_, task, 16, p_.depth);
  for (Index panel = 0; panel < panels_.count; panel = same_width(panel, panels_.count))
    pack_columns(panel, same_width(panel, panels_.count), k, end - k,
                 packed + panel_begin(panel) * p_.depth + k * panel_width(panel), p_.depth);
}

template <class T>
void Matmul<T>::run_panels(const Block& block, const T* packed, T* scratch) const {
  const auto& kernels = *kernels_.matmul;
  const Index tile = kernels.tile_rows;
  Index first_panel = 0;
  while (panel_begin(first_panel) < block.column) ++first_panel;
  Index end_panel = first_panel;
  while (end_panel < panels_.count && panel_begin(end_panel) < block.column + block.columns)
    ++end_panel;
  const Split chunks(std::max<Index>(p_.depth, 1), depth_block);
  kernels::MatmulPanel<T> panel{};
  panel.rows = block.rows;
  panel.c_stride = p_.c.stride;
  T* scratch_b = scratch + 2 * a_block_bytes / sizeof(T);
  for (Index chunk = 0; chunk < chunks.count; ++chunk) {
    const Index k = chunks.begin(chunk), depth = std::min(chunks.end(chunk), p_.depth) - k;
    panel.depth = depth;
    panel.accumulate = p_.accumulate || chunk > 0;
    panel.relu = p_.relu && chunk + 1 == chunks.count;
    if (pack_a_.count) {
      panel.a = packed + block.row * p_.depth + k * tile;
      panel.a_tile = tile * p_.depth, panel.a_row = 1, panel.a_step = tile;
    } else if (p_.a.transposed) {
      kernels.pack(p_.a.at(block.row, k), p_.a.stride, depth, block.rows, static_cast<int>(tile),
                   scratch, tile * depth);
      panel.a = scratch, panel.a_tile = tile * depth, panel.a_row = 1, panel.a_step = tile;
    } else if (knob("PACKA", 0)) {
      const Index st = depth + 16;
      for (Index r = 0; r < block.rows; ++r)
        std::copy_n(p_.a.at(block.row + r, k), depth, scratch + r * st);
      panel.a = scratch, panel.a_tile = tile * st, panel.a_row = st, panel.a_step = 1;
    } else {
      panel.a = p_.a.at(block.row, k);
      panel.a_tile = tile * p_.a.stride, panel.a_row = p_.a.stride, panel.a_step = 1;
    }
    for (Index i = first_panel; i < end_panel;) {
      Index next = end_panel;
      const T* b = packed + packed_a_size() + panel_begin(i) * p_.depth + k * panel_width(i);
      Index step = panel_width(i) * p_.depth;
      next = same_width(i, next);
      if (!pack_b_.count) {
        step = panel_width(i) * depth;
        next = std::min(next, i + std::max<Index>(1, b_block_bytes / Index(sizeof(T)) /
                                                         std::max<Index>(step, 1)));
        pack_columns(i, next, k, depth, scratch_b, depth);
        b = scratch_b;
      }
      for (; i < next; ++i, b += step) {
        const Index column = panel_begin(i);
        panel.columns = static_cast<int>(std::min(panel_width(i), p_.columns - column));
        panel.b = b;
        panel.c = p_.c.at(block.row, column);
        panel.bias = p_.bias ? p_.bias + (p_.c.transposed ? block.row : column) : nullptr;
        const int vectors = static_cast<int>(panel_width(i) / kernels_.lanes);
        (p_.c.transposed ? kernels.panel_transposed : kernels.panel)(vectors, panel);
      }
    }
  }
}

template <class T>
void Matmul<T>::run(Index task, const T* packed, T* scratch) const {
  const auto& kernels = *kernels_.matmul;
  const Block b = block(task);
  if (manner_ == Manner::panels) return run_panels(b, packed, scratch);
  T* c = p_.c.at(b.row, b.column);
  if (manner_ == Manner::dot) {
    const bool turned = p_.c.transposed;
    return kernels.dot({b.rows, b.columns, p_.depth, p_.a.at(b.row, 0), p_.a.stride,
                        p_.b.at(0, b.column), p_.b.stride, c, turned ? 1 : p_.c.stride,
                        turned ? p_.c.stride : 1,
                        p_.bias ? p_.bias + (turned ? b.row : b.column) : nullptr, turned ? 1 : 0,
                        turned ? 0 : 1, p_.relu});
  }
  kernels.stream({b.rows, b.columns, p_.depth, p_.a.at(b.row, 0), p_.a.transposed ? 1 : p_.a.stride,
                  p_.a.transposed ? p_.a.stride : 1, p_.b.at(0, b.column), p_.b.stride, c,
                  p_.c.stride, p_.bias ? p_.bias + b.column : nullptr, p_.accumulate, p_.relu});
}

template <class T>
void run(const Matmul<T>* products, int count) {
  Index packed = 0, pack_tasks = 0, tasks = 0;
  for (int i = 0; i < count; ++i) {
    packed += Index(round_up(products[i].packed_size(), 64));
    pack_tasks += products[i].pack_tasks();
    tasks += products[i].tasks();
  }
  const Index scratch = Matmul<T>::scratch_size();
  Workspace workspace((packed + scratch * parallel_workers(tasks)) * sizeof(T));
  T* memory = workspace.as<T>();
  parallel_for(pack_tasks, [&](Index task, int) {
    T* to = memory;
    int i = 0;
    for (; task >= products[i].pack_tasks(); ++i)
      task -= products[i].pack_tasks(), to += Index(round_up(products[i].packed_size(), 64));
    products[i].pack(task, to);
  });
  parallel_for(tasks, [&](Index task, int worker) {
    T* from = memory;
    int i = 0;
    for (; task >= products[i].tasks(); ++i)
      task -= products[i].tasks(), from += Index(round_up(products[i].packed_size(), 64));
    products[i].run(task, from, memory + packed + worker * scratch);
  });
}

template <class T>
void matmul(const Product<T>& product) {
  const Matmul<T> tasks(product);
  run(&tasks, 1);
}

template class Matmul<float>;
template class Matmul<double>;
template void run(const Matmul<float>*, int);
template void run(const Matmul<double>*, int);
template void matmul(const Product<float>&);
template void matmul(const Product<double>&);

}  // namespace piste
