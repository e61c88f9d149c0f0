// Weights between the user's order (filters, channels, kernel...) and the kernels' panels.

#include <cstring>

#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {
namespace {

constexpr Index chunk_rows = 128;    // of a transposed block on the stack
constexpr Index chunk_columns = 48;  // at least the widest panel

/// Units of work [begin, end) that a task does.
struct Share {
  Index begin, end;
  Share(Index units, Index tasks, Index task)
      : begin(units * task / tasks), end(units * (task + 1) / tasks) {}
};

Index parts(Index n, Index part) { return (n + part - 1) / part; }

}  // namespace

// A unit is (group, block, chunk): columns of the block by chunk_rows of the (channel, tap) values
// that stand contiguous in each filter. Transposed on the stack, each row goes to its tap's panel.
template <class T>
void Conv<T>::pack_forward(const T* weight, T* packed, Index task) const {
  const auto& kernels = *kernel_table<T>().layout;
  const Product& p = forward_;
  const Index values = p.depth * taps_, chunks = parts(values, chunk_rows), blocks = p.blocks();
  const Share share(p.groups * blocks * chunks, pack_tasks_, task);
  alignas(alignment) T buffer[chunk_rows * chunk_columns];
  for (Index unit = share.begin; unit < share.end; ++unit) {
    const Index chunk = unit % chunks, block = unit / chunks % blocks,
                group = unit / (chunks * blocks);
    const Index width = p.width(block), first = chunk * chunk_rows;
    const Index rows = std::min(chunk_rows, values - first);
    const Index filter = group * p.columns + block * p.panel;
    kernels.transpose(weight + filter * values + first, values, buffer, width,
                      std::min(width, p.columns - block * p.panel), rows, width);
    T* to = packed + p.offset(group, block);
    Index channel = first / taps_, tap = first % taps_;
    for (Index row = 0; row < rows; ++row) {
      std::memcpy(to + (tap * p.depth + channel) * width, buffer + row * width, width * sizeof(T));
      if (++tap == taps_) tap = 0, ++channel;
    }
  }
}

// A unit is (group, filter): its channels are the columns of backward_data's product.
template <class T>
void Conv<T>::pack_backward(const T* weight, T* packed, Index task) const {
  const Product& p = backward_;
  const Share share(p.groups * p.depth, pack_tasks_, task);
  for (Index unit = share.begin; unit < share.end; ++unit) {
    const Index group = unit / p.depth, filter = unit % p.depth;
    if (spreads_) pack_runs(weight, packed + p.packed_size(), filter);
    for (Index block = 0; block < p.blocks(); ++block) {
      const Index width = p.width(block), first = block * p.panel;
      const Index valid = std::min(width, p.columns - first);
      const T* from = weight + (unit * p.columns + first) * taps_;
      for (Index tap = 0; tap < taps_; ++tap) {
        T* to = packed + p.offset(group, block) + (tap * p.depth + filter) * width;
        for (Index c = 0; c < valid; ++c) to[c] = from[c * taps_ + tap];
        for (Index c = valid; c < width; ++c) to[c] = 0;
      }
    }
  }
}

// A unit is (group, chunk of (channel, tap), chunk of filters): summed over the parts into rows on
// the stack, then transposed to where each filter's values are contiguous.
template <class T>
void Conv<T>::unpack_gradient(const T* const* gradients, Index count, T* weight_gradient,
                              Index task) const {
  const auto& table = kernel_table<T>();
  const Product& p = forward_;
  const Index values = p.depth * taps_, chunks = parts(values, chunk_rows);
  const Index column_chunks = parts(p.columns, chunk_columns);
  const Share share(p.groups * chunks * column_chunks, pack_tasks_, task);
  alignas(alignment) T buffer[chunk_rows * chunk_columns];
  for (Index unit = share.begin; unit < share.end; ++unit) {
    const Index column = unit % column_chunks * chunk_columns,
                first = unit / column_chunks % chunks * chunk_rows,
                group = unit / (column_chunks * chunks);
    const Index columns = std::min(chunk_columns, p.columns - column);
    const Index rows = std::min(chunk_rows, values - first);
    for (Index row = 0; row < rows; ++row) {
      const Index tap = (first + row) % taps_, channel = (first + row) / taps_;
      const Index from = ((group * taps_ + tap) * p.depth + channel) * p.padded() + column;
      table.gemm->sum(gradients, count, from, buffer + row * chunk_columns, columns);
    }
    T* to = weight_gradient + (group * p.columns + column) * values + first;
    table.layout->transpose(buffer, chunk_columns, to, values, rows, columns, rows);
  }
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
