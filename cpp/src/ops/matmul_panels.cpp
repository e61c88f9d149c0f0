// Products by panels: packing, and the loops around the register tiles.

#include <utility>

#include "ops/matmul.h"
#include "ops/matmul_blocks.h"

namespace piste {

using namespace matmul_blocks;

template <class T>
Index Matmul<T>::Panels::same_width(Index panel, Index end) const {
  const Index first = width(panel);
  while (panel < end && width(panel) == first) ++panel;
  return panel;
}

// Rows [k, k + depth) of b, columns of panels [panel, end), to panels of to_depth rows at `to`.
template <class T>
void Matmul<T>::pack_columns(const Matrix<const T>& b, Index panel, Index end, Index k, Index depth,
                             T* to, Index to_depth) const {
  while (panel < end) {
    const Index next = panels_.same_width(panel, end), width = panels_.width(panel);
    const Index size = width * to_depth, first = panels_.begin(panel);
    if (b.transposed) {
      for (Index i = panel; i < next; ++i)
        kernels_.layout->transpose(b.at(k, panels_.begin(i)), b.stride, to + (i - panel) * size,
                                   width, panels_.valid(i), depth, width);
    } else {
      const Index columns = std::min(panels_.begin(next), p_.columns) - first;
      kernels_.matmul->pack(b.at(k, first), b.stride, depth, columns, static_cast<int>(width), to,
                            size);
    }
    to += (next - panel) * size;
    panel = next;
  }
}

// A task of a, or of b where it lies along columns, is some rows of depth; of a transposed b, some
// panels.
template <class T>
void Matmul<T>::pack(Index task, T* memory) const {
  const auto depth_of = [&](const Split& split, Index i) {
    const Index k = split.begin(i) * pack_rows;
    return std::pair(k, std::min(split.end(i) * pack_rows, p_.depth) - k);
  };
  if (task < pack_a_.count) {
    const Index tile = tile_rows();
    if (!p_.a.transposed) {
      const Index row = pack_a_.begin(task) * tile, end = pack_a_.end(task) * tile;
      return pack_tiles<T>({p_.a.at(row, 0), p_.a.stride}, std::min(end, p_.rows) - row, p_.depth,
                           memory + row * p_.depth);
    }
    const auto [k, depth] = depth_of(pack_a_, task);
    kernels_.matmul->pack(p_.a.at(0, k), p_.a.stride, depth, p_.rows, static_cast<int>(tile),
                          memory + k * tile, tile * p_.depth);
    return;
  }
  task -= pack_a_.count;
  memory += packed_a_size();
  if (p_.b.transposed) {
    const Index panel = pack_b_.begin(task);
    pack_columns(p_.b, panel, pack_b_.end(task), 0, p_.depth,
                 memory + panels_.begin(panel) * p_.depth, p_.depth);
    return;
  }
  const auto [k, depth] = depth_of(pack_b_, task);
  for (Index panel = 0; panel < panels_.count();) {
    const Index next = panels_.same_width(panel, panels_.count());
    pack_columns(p_.b, panel, next, k, depth,
                 memory + panels_.begin(panel) * p_.depth + k * panels_.width(panel), p_.depth);
    panel = next;
  }
}

bool tiles_pay(Index rows, Index depth) { return std::min(rows, depth) > stream_rows; }

template <class T>
void pack_tiles(const Matrix<const T>& a, Index rows, Index depth, T* tiles) {
  const auto& kernels = *kernel_table<T>().matmul;
  if (!a.transposed) return kernels.pack_rows(a.data, a.stride, rows, depth, tiles);
  kernels.pack(a.data, a.stride, depth, rows, kernels.tile_rows, tiles, depth * kernels.tile_rows);
}

/// Where the block's rows of a begin at depth k: packed by all, packed here, or as they are.
template <class T>
void Matmul<T>::point_to_a(const Product<T>& p, const Block& block, Index k, const T* memory,
                           T* scratch, kernels::MatmulPanel<T>& panel) const {
  const Index tile = tile_rows();
  Matrix<const T> a = p.a;
  if (pack_a_.count) {
    a = {memory, p.depth, false, tile};
  } else if (packs_a()) {
    pack_tiles<T>({a.at(block.row, k), a.stride, a.transposed}, block.rows, panel.depth, scratch);
    panel.a = scratch;
    panel.a_tile = tile * panel.depth, panel.a_row = 1, panel.a_step = tile;
    return;
  }
  panel.a = a.at(block.row, k);
  panel.a_tile = tile * a.stride;
  panel.a_row = a.tile ? 1 : a.stride, panel.a_step = a.tile ? tile : 1;
}

// A transposed c is computed in scratch memory, where its rows lie side by side.
template <class T>
void Matmul<T>::run_panels(const Product<T>& p, const Block& block, Index first, Index end,
                           const T* memory, T* scratch) const {
  T* c = p.c.at(block.row, block.column);
  if (!p.c.transposed) return multiply_panels(p, block, first, end, c, memory, scratch);
  Product<T> q = p;
  q.c = {scratch, panels_.begin(end) - panels_.begin(first)};
  // What runs along c is a value for each of the rows that are computed.
  q.line_bias = p.bias;
  q.bias = nullptr;
  q.accumulate = p.line_bias || p.accumulate;
  for (Index i = 0; i < block.rows && q.accumulate; ++i)
    for (Index j = 0; j < block.columns; ++j)
      *q.c.at(i, j) = p.accumulate ? c[j * p.c.stride + i] : p.line_bias[block.column + j];
  multiply_panels(q, block, first, end, q.c.data, memory, scratch + c_values());
  kernels_.layout->transpose(q.c.data, q.c.stride, c, p.c.stride, block.rows, block.columns,
                             block.rows);
}

template <class T>
void Matmul<T>::multiply_panels(const Product<T>& p, const Block& block, Index first, Index end,
                                T* c, const T* memory, T* scratch) const {
  T* scratch_b = scratch + scratch_a_size();
  const Index chunks = std::max<Index>(parts(p.depth, depth_block()), 1);
  kernels::MatmulPanel<T> panel{};
  panel.rows = block.rows;
  panel.c_stride = p.c.stride;
  panel.row_bias = p.line_bias ? p.line_bias + block.row : nullptr;
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    const Index k = p.depth * chunk / chunks;
    panel.depth = p.depth * (chunk + 1) / chunks - k;
    panel.accumulate = p.accumulate || chunk > 0;
    panel.relu = p.relu && chunk + 1 == chunks;
    point_to_a(p, block, k, memory, scratch, panel);
    for (Index i = first; i < end;) {
      const Index width = panels_.width(i);
      Index next = panels_.same_width(i, end), size = width * p.depth;
      panel.b = memory + packed_a_size() + panels_.begin(i) * p.depth + k * width;
      if (!pack_b_.count) {
        size = width * panel.depth;
        next = std::min(next, i + std::max<Index>(b_bytes / (size * Index(sizeof(T)) + 1), 1));
        pack_columns(p.b, i, next, k, panel.depth, scratch_b, panel.depth);
        panel.b = scratch_b;
      }
      for (; i < next; ++i, panel.b += size) {
        const Index column = panels_.begin(i);
        panel.columns = static_cast<int>(p_.c.transposed ? width : panels_.valid(i));
        panel.c = c + (column - block.column);
        panel.bias = p.bias ? p.bias + column : nullptr;
        kernels_.matmul->panel(static_cast<int>(width / kernels_.lanes), panel);
      }
    }
  }
}

template void pack_tiles(const Matrix<const float>&, Index, Index, float*);
template void pack_tiles(const Matrix<const double>&, Index, Index, double*);
template class Matmul<float>;
template class Matmul<double>;

}  // namespace piste
