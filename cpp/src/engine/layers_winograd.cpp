#include "engine/weighted_op.h"
#include "ops/winograd.h"

namespace piste {
namespace {

/// 3x3 convolution in transformed tiles, bias and ReLU included. Weight gradients are summed as
/// their transforms and transformed back once a step.
template <class T>
class WinogradOp final : public ConvolutionOp<T> {
 public:
  WinogradOp(Plan<T>& plan, const ConvGeometry& g, const Site<T>& site)
      : ConvolutionOp<T>(plan, site),
        g_(g),
        forward_(Winograd<T>::forward_pass(g), Winograd<T>::tile_size(g)),
        backward_(Winograd<T>::backward_pass(g), Winograd<T>::tile_size(g)) {
    packed_ = plan.fixed_tensor(forward_.packed_size());
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_convolution(plan, dy, dx[0], backward_.packed_size(), gradient_size());
  }

  // A task per panel, and one that copies the bias.
  Index prepare_tasks() const override {
    return forward_.panels() + (packed_for_dx_ >= 0 ? backward_.panels() : 0) + 1;
  }

  void prepare(const Memory<T>& memory, Index task) override {
    if (task < forward_.panels())
      return forward_.pack(weight_.value.data, task,
                           memory.fixed(packed_) + forward_.panel_offset(task));
    task -= forward_.panels();
    if (packed_for_dx_ >= 0 && task < backward_.panels())
      return backward_.pack(weight_.value.data, task,
                            memory.fixed(packed_for_dx_) + backward_.panel_offset(task));
    this->copy_bias(memory);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    map(forward_, memory.at(x_.tensor, chunk), x_.width, memory.fixed(packed_), this->bias(memory),
        this->relu_, memory.at(y_.tensor, chunk), y_.width, chunk.count(),
        memory.worker_scratch(chunk));
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* dy = this->gradient_.read(memory, chunk);
    add_weight_gradient(memory, chunk, dy);
    this->add_bias_gradient(memory, chunk, dy);
    if (this->dx_ >= 0)
      map(backward_, dy, y_.width, memory.fixed(packed_for_dx_), nullptr, false,
          memory.at(this->dx_, chunk), x_.width, chunk.count(), memory.worker_scratch(chunk));
  }

  // A task per block of channels, and one that adds the bias's gradient.
  Index finish_tasks(int phase) const override {
    return phase > 0 || !this->linked() ? 0 : channel_blocks() + 1;
  }

  void finish(const Memory<T>& memory, Index groups, int, Index task, void*) override {
    if (task == channel_blocks()) return this->sum_bias_gradient(memory, groups);
    const auto& gemm = *kernel_table<T>().gemm;
    const Index first = task * block_channels, depth = g_.channels, width = y_.width;
    const Index channels = std::min(block_channels, depth - first);
    const GroupSums<T> parts(memory.fixed(gradients_), gradient_size(), groups);
    // The first group's memory takes the sum: nothing else reads this block of it.
    T* sum = memory.fixed(gradients_);
    for (Index f = 0; f < forward_.frequencies(); ++f) {
      const Index at = f * forward_.u_frequency() + first * width;
      gemm.sum(parts.data, groups, at, sum + at, channels * width);
    }
    forward_.unpack_gradient(sum + first * width, first, channels, 0, g_.filters, width,
                             forward_.u_frequency(), weight_.gradient);
  }

  const char* algorithm() const override {
    return forward_.frequencies() == 16 ? "winograd 2x2" : "winograd 4x4";
  }

  Index scratch_bytes(Index) const override {
    Index values = scratch_values(forward_);
    if (this->linked()) {
      values = std::max(values, scratch_values(backward_));
      values = std::max(values, v_at(forward_) + v_values(forward_) + z_values());
    }
    return values * static_cast<Index>(sizeof(T));
  }

 private:
  static constexpr Index block_channels = 16;
  static constexpr Index map_channels = 64;  // of the output at a time

  Index channel_blocks() const { return (g_.channels + block_channels - 1) / block_channels; }
  Index gradient_size() const { return forward_.u_values(); }

  // Scratch memory: a strip's bordered source, its transform, then the products or the transform
  // of the output's gradient.
  static Index v_at(const Winograd<T>& w) { return rounded(w.border_values()); }
  static Index v_frequency(const Winograd<T>& w) {
    return Winograd<T>::frequency_stride(w.strip_tiles(), w.v_stride());
  }
  static Index v_values(const Winograd<T>& w) { return rounded(w.frequencies() * v_frequency(w)); }
  static Index s_stride(const Winograd<T>& w) { return std::min(w.out_stride(), map_channels); }
  static Index s_frequency(const Winograd<T>& w) {
    return Winograd<T>::frequency_stride(w.strip_tiles(), s_stride(w));
  }
  static Index scratch_values(const Winograd<T>& w) {
    return v_at(w) + v_values(w) + rounded(w.frequencies() * s_frequency(w));
  }
  Index z_frequency() const {
    return Winograd<T>::frequency_stride(forward_.strip_tiles(), forward_.z_stride());
  }
  Index z_values() const { return rounded(forward_.frequencies() * z_frequency()); }
  static Index rounded(Index values) { return (values + 15) / 16 * 16 + 16; }

  static void map(const Winograd<T>& w, const T* from, Index from_stride, const T* packed,
                  const T* bias, bool relu, T* to, Index to_stride, Index n, void* scratch) {
    T* border = static_cast<T*>(scratch);
    T *v = border + v_at(w), *s = v + v_values(w);
    const Index panel = w.panel_width(0), group = std::max<Index>(map_channels / panel, 1);
    for (Index i = 0; i < w.strips(n); ++i) {
      const auto strip = w.strip(i, n);
      w.border_from_rows(from, from_stride, strip, border);
      w.transform(border, strip, v, v_frequency(w));
      for (Index first = 0; first < w.panels(); first += group) {
        const Index last = std::min(first + group, w.panels()), channel = first * panel;
        w.multiply(v, v_frequency(w), packed + w.panel_offset(first), first, last, s,
                   s_frequency(w), s_stride(w), strip.tiles);
        w.finish(s, s_frequency(w), s_stride(w), strip,
                 std::min(w.out_stride() - channel, group * panel), bias ? bias + channel : nullptr,
                 relu, to + w.first_pixel(strip) * to_stride + channel, to_stride);
      }
    }
  }

  void add_weight_gradient(const Memory<T>& memory, const Chunk& chunk, const T* dy) {
    const Winograd<T>& w = forward_;
    const Index n = chunk.count(), width = y_.width;
    T* border = static_cast<T*>(memory.worker_scratch(chunk));
    T *v = border + v_at(w), *z = v + v_values(w);
    T* u = memory.fixed(gradients_) + chunk.group * gradient_size();
    for (Index i = 0; i < w.strips(n); ++i) {
      const auto strip = w.strip(i, n);
      w.border_from_rows(memory.at(x_.tensor, chunk), x_.width, strip, border);
      w.transform(border, strip, v, v_frequency(w));
      w.transform_gradient(dy + w.first_pixel(strip) * width, width, strip, z, z_frequency());
      w.multiply_gradient(v, v_frequency(w), z, z_frequency(), strip.tiles, u,
                          i > 0 || !chunk.first_of_group);
    }
  }

  ConvGeometry g_;
  Winograd<T> forward_, backward_;
  using WeightedOp<T>::x_, WeightedOp<T>::y_, WeightedOp<T>::weight_, ConvolutionOp<T>::packed_,
      ConvolutionOp<T>::packed_for_dx_, ConvolutionOp<T>::gradients_;
};

}  // namespace

template <class T>
OpPtr<T> make_winograd(Plan<T>& plan, const ConvGeometry& g, const Site<T>& site) {
  return std::make_unique<WinogradOp<T>>(plan, g, site);
}

template OpPtr<float> make_winograd(Plan<float>&, const ConvGeometry&, const Site<float>&);
template OpPtr<double> make_winograd(Plan<double>&, const ConvGeometry&, const Site<double>&);

}  // namespace piste
