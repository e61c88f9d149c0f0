#include <cstring>

#include "engine/weighted_op.h"

namespace piste {
namespace {

// Weights beyond this size are read once for the whole batch, each task taking some panels of
// them; smaller ones stay in the cache while samples pass chunk by chunk.
constexpr Index wide_bytes = 192 << 10;
constexpr Index pack_rows = 64;              // features that are transposed at a time
constexpr Index gradient_bytes = 128 << 10;  // of a task's block of the weight gradient

/// Linear layer with bias and ReLU. A sample's features stand as the map before left them: pixels
/// of `width` channels. The weight gradient is computed after the backward pass, over the whole
/// batch at once: no partial sums, whatever the number of weights.
template <class T>
class LinearOp final : public WeightedOp<T> {
 public:
  LinearOp(Plan<T>& plan, const Site<T>& site) : WeightedOp<T>(site) {
    const auto& table = kernel_table<T>();
    lanes_ = table.lanes;
    panel_ = lanes_ * table.gemm->tile_vectors;
    wide_ = weight_.value.size() * Index(sizeof(T)) > wide_bytes;
    packed_ = plan.fixed_tensor(y_.width * inputs());
    padded_bias_ = plan.fixed_tensor(y_.width);
    this->use_forward(x_.tensor);
    this->use_forward(y_.tensor);
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_ends(plan, dy, dx[0]);
    if (dx_ >= 0) packed_backward_ = plan.fixed_tensor(padded_inputs() * outputs());
    if (wide_) this->use_backward(masked_, 1);
    this->use_backward(dx_, wide_ ? 1 : 0);
    plan.keep(x_.tensor);
    plan.keep(masked_);
  }

  // Panels of the forward product, then of the backward one, then the bias.
  Index prepare_tasks() const override {
    return panels(y_.width) + (packed_backward_ >= 0 ? backward_pack_tasks() : 0) + 1;
  }

  void prepare(const Memory<T>& memory, Index task) override {
    if (task < panels(y_.width)) return pack_forward(memory.fixed(packed_), task);
    task -= panels(y_.width);
    if (packed_backward_ >= 0 && task < backward_pack_tasks())
      return pack_backward(memory.fixed(packed_backward_), task);
    if (bias_.value) std::copy_n(bias_.value.data, outputs(), memory.fixed(padded_bias_));
  }

  Index wide_tasks(bool backward, int phase) const override {
    if (!wide_ || (backward && phase == 0)) return 0;
    return backward ? (dx_ < 0 ? 0 : panels(inputs())) : panels(y_.width);
  }
  int backward_phases(bool) const override { return wide_ && dx_ >= 0 ? 2 : 1; }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    for (Index p = 0; p < panels(y_.width); ++p) forward_panel(memory, p, x, y, chunk.count());
  }
  void forward_wide(const Run<T>&, const Memory<T>& memory, Index task) override {
    forward_panel(memory, task, memory.fixed(x_.tensor), memory.fixed(y_.tensor), memory.batch);
  }

  void backward(int phase, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (phase > 0) return;
    const T* dy = this->before_relu(memory, chunk);
    if (wide_ || dx_ < 0) return;
    T* dx = memory.at(dx_, chunk);
    for (Index p = 0; p < panels(inputs()); ++p) backward_panel(memory, p, dy, dx, chunk.count());
  }
  void backward_wide(const Run<T>&, const Memory<T>& memory, Index task) override {
    backward_panel(memory, task, memory.fixed(masked_), memory.fixed(dx_), memory.batch);
  }

  // Blocks of channels, then the bias.
  Index finish_tasks() const override {
    if (this->dy_ < 0) return 0;
    return (x_.shape.channels + block_channels() - 1) / block_channels() + 1;
  }

  void finish(const Memory<T>& memory, Index, Index task, void* scratch) override {
    const auto& table = kernel_table<T>();
    const T *x = memory.fixed(x_.tensor), *dy = memory.fixed(masked_);
    const Index first = task * block_channels(), pixels = x_.shape.pixels(), width = y_.width;
    if (first >= x_.shape.channels) {
      if (bias_.value)
        table.gemm->column_sums(dy, memory.batch, width, bias_.gradient, outputs(), false);
      return;
    }
    // Rows of the block in the weight's own order, (channel, pixel), for the transpose below.
    const Index channels = std::min(block_channels(), x_.shape.channels - first);
    T* block = static_cast<T*>(scratch);
    for (Index begin = 0; begin < memory.batch; begin += batch_rows) {
      const Index rows = std::min(batch_rows, memory.batch - begin);
      const T* sources[batch_rows];
      for (Index i = 0; i < rows; ++i) sources[i] = x + (begin + i) * inputs();
      kernels::OuterTile<T> tile;
      tile.x = sources;
      tile.dy_stride = width;
      tile.pixels = rows;
      tile.channels = channels;
      tile.gradient_stride = pixels * width;
      tile.accumulate = begin > 0;
      for (Index p = 0; p < pixels; ++p)
        for (Index column = 0; column < width; column += panel_) {
          tile.first_channel = p * x_.width + first;
          tile.dy = dy + begin * width + column;
          tile.gradient = block + p * width + column;
          table.gemm->outer(static_cast<int>(std::min(panel_, width - column) / lanes_), tile);
        }
    }
    table.layout->transpose(block, width, weight_.gradient + first * pixels, features(),
                            channels * pixels, outputs(), channels * pixels);
  }

  // Weights read once for the whole batch, or kept in the cache while samples pass.
  const char* algorithm() const override { return wide_ ? "by weights" : "by samples"; }

  Index scratch_bytes() const override {
    if (this->dy_ < 0) return 0;
    return block_channels() * x_.shape.pixels() * y_.width * static_cast<Index>(sizeof(T));
  }

 private:
  static constexpr Index batch_rows = 256;  // whose pointers stand on the stack
  static constexpr Index max_tile_rows = 16;

  Index inputs() const { return x_.sample_values(); }
  Index padded_inputs() const { return (inputs() + lanes_ - 1) / lanes_ * lanes_; }
  Index features() const { return x_.shape.features(); }
  Index outputs() const { return y_.shape.channels; }
  Index panels(Index columns) const { return (columns + panel_ - 1) / panel_; }
  Index panel_width(Index columns, Index panel) const {
    const Index padded = (columns + lanes_ - 1) / lanes_ * lanes_;
    return std::min(panel_, padded - panel * panel_);
  }

  /// Channels of a block of the weight gradient; multiples of the tile's, 6 or 8, waste none.
  Index block_channels() const {
    const Index bytes = x_.shape.pixels() * y_.width * Index(sizeof(T));
    const Index fit = std::max<Index>(gradient_bytes / bytes / 24, 1) * 24;
    return std::min(fit, x_.shape.channels);
  }

  // packed[panel][pixel][channel of width][column]
  void pack_forward(T* packed, Index panel) const {
    const auto& layout = *kernel_table<T>().layout;
    const Index width = panel_width(y_.width, panel), first = panel * panel_;
    const Index valid = std::min(width, outputs() - first), pixels = x_.shape.pixels();
    T* to = packed + first * inputs();
    if (x_.width != x_.shape.channels) std::memset(to, 0, inputs() * width * sizeof(T));
    alignas(alignment) T buffer[pack_rows * 64];
    for (Index row = 0; row < features(); row += pack_rows) {
      const Index rows = std::min(pack_rows, features() - row);
      layout.transpose(weight_.value.data + first * features() + row, features(), buffer, width,
                       valid, rows, width);
      if (pixels == 1) {
        std::memcpy(to + row * width, buffer, rows * width * sizeof(T));
        continue;
      }
      Index channel = row / pixels, pixel = row % pixels;
      for (Index i = 0; i < rows; ++i) {
        std::memcpy(to + (pixel * x_.width + channel) * width, buffer + i * width,
                    width * sizeof(T));
        if (++pixel == pixels) pixel = 0, ++channel;
      }
    }
  }

  // packed[panel of inputs][output][column]; a task packs the weights of some outputs.
  Index backward_pack_tasks() const { return std::clamp<Index>(weight_.value.size() >> 14, 1, 16); }
  void pack_backward(T* packed, Index task) const {
    const Index tasks = backward_pack_tasks();
    for (Index k = outputs() * task / tasks; k < outputs() * (task + 1) / tasks; ++k) {
      const T* row = weight_.value.data + k * features();
      for (Index pixel = 0; pixel < x_.shape.pixels(); ++pixel)
        for (Index channel = 0; channel < x_.width; ++channel) {
          const Index column = pixel * x_.width + channel, panel = column / panel_;
          packed[panel * panel_ * outputs() + k * panel_width(inputs(), panel) + column % panel_] =
              channel < x_.shape.channels ? row[channel * x_.shape.pixels() + pixel] : T(0);
        }
    }
  }

  /// One panel of columns for n rows.
  void product(const T* rows, Index row_stride, Index depth, const T* panel, Index width,
               const T* bias, bool relu, T* out, Index out_stride, Index first, Index columns,
               Index n) const {
    const auto& gemm = *kernel_table<T>().gemm;
    const Index no_offset = 0;
    const T* sources[max_tile_rows];
    T* targets[max_tile_rows];
    kernels::GemmTile<T> tile;
    tile.rows = sources;
    tile.offsets = &no_offset;
    tile.panels = &panel;
    tile.taps = 1;
    tile.channels = depth;
    tile.first_channel = 0;
    tile.out = targets;
    tile.first_column = first;
    tile.bias = bias;
    tile.relu = relu;
    tile.columns = static_cast<int>(std::min(width, columns - first));
    const int vectors = static_cast<int>(width / lanes_);
    const Index tile_rows = gemm.tile_rows[vectors - 1];
    for (Index row = 0; row < n; row += tile_rows) {
      const Index count = std::min<Index>(tile_rows, n - row);
      for (Index i = 0; i < count; ++i) {
        sources[i] = rows + (row + i) * row_stride;
        targets[i] = out + (row + i) * out_stride;
      }
      gemm.tile(static_cast<int>(count), vectors, tile);
    }
  }

  void forward_panel(const Memory<T>& memory, Index panel, const T* x, T* y, Index n) const {
    const Index first = panel * panel_;
    product(x, inputs(), inputs(), memory.fixed(packed_) + first * inputs(),
            panel_width(y_.width, panel),
            bias_.value ? memory.fixed(padded_bias_) + first : nullptr, this->relu_, y, y_.width,
            first, y_.width, n);
  }
  void backward_panel(const Memory<T>& memory, Index panel, const T* dy, T* dx, Index n) const {
    const Index first = panel * panel_;
    product(dy, y_.width, outputs(), memory.fixed(packed_backward_) + first * outputs(),
            panel_width(inputs(), panel), nullptr, false, dx, inputs(), first, inputs(), n);
  }

  using WeightedOp<T>::x_, WeightedOp<T>::y_, WeightedOp<T>::weight_, WeightedOp<T>::bias_,
      WeightedOp<T>::dx_, WeightedOp<T>::masked_;
  bool wide_;
  Index lanes_, panel_;
  int packed_, padded_bias_, packed_backward_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_linear(Plan<T>& plan, const Site<T>& site) {
  return std::make_unique<LinearOp<T>>(plan, site);
}

template OpPtr<float> make_linear(Plan<float>&, const Site<float>&);
template OpPtr<double> make_linear(Plan<double>&, const Site<double>&);

}  // namespace piste
