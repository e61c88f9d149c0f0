// A convolution of few filters whose input nobody wants the gradient of, as the first one of a
// network for digits: lanes for channels would stay empty, so vectors lie along the rows of planes.

#include "base/aligned.h"
#include "engine/weighted_op.h"
#include "ops/conv_planes.h"

namespace piste {
namespace {

template <class T>
class PlanesOp final : public ConvolutionOp<T> {
 public:
  PlanesOp(Plan<T>& plan, const ConvGeometry& g, const Site<T>& site)
      : ConvolutionOp<T>(plan, site),
        product_(forward_product<T>(g, 1)),
        gradient_sums_(weight_gradient<T>(g, 1, 1)) {
    packed_ = plan.fixed_tensor(product_.packed_size());
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_convolution(plan, dy, dx[0], 0, gradient_sums_.size());
  }

  // The last task copies the bias.
  Index prepare_tasks() const override { return product_.panels() + 1; }

  void prepare(const Memory<T>& memory, Index task) override {
    if (task < product_.panels())
      return product_.pack(weight_.value.data, task, memory.fixed(packed_));
    if (!bias_.value) std::fill_n(memory.fixed(this->padded_bias_), y_.width, T(0));
    this->copy_bias(memory);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Scratch scratch(*this, memory.worker_scratch(chunk));
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    for (Index i = 0; i < chunk.count(); ++i, x += x_.sample_values(), y += y_.sample_values()) {
      const T* from = planes_of(x, x_, scratch.x);
      for (Index unit = 0; unit < product_.units(); ++unit)
        product_.run(unit, from, memory.fixed(packed_), memory.fixed(this->padded_bias_), scratch.y,
                     scratch.rest, this->relu_);
      kernel_table<T>().layout->transpose(scratch.y, y_.shape.pixels(), y, y_.width,
                                          y_.shape.channels, y_.shape.pixels(), y_.width);
    }
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Scratch scratch(*this, memory.worker_scratch(chunk));
    const T* x = memory.at(x_.tensor, chunk);
    const T* dy = this->gradient_.read(memory, chunk);
    T* sums = memory.fixed(gradients_) + chunk.group * gradient_sums_.size();
    for (Index i = 0; i < chunk.count(); ++i, x += x_.sample_values(), dy += y_.sample_values()) {
      to_planes(dy, y_, scratch.y);
      for (Index task = 0; task < gradient_sums_.tasks(); ++task)
        gradient_sums_.run(task, planes_of(x, x_, scratch.x), scratch.y, sums, scratch.rest,
                           !chunk.first_of_group || i > 0, slack());
    }
  }

  Index finish_tasks(int phase) const override { return phase > 0 || !this->linked() ? 0 : 1; }

  void finish(const Memory<T>& memory, Index groups, int, Index, void*) override {
    const GroupSums<T> parts(memory.fixed(gradients_), gradient_sums_.size(), groups);
    const auto sum = kernel_table<T>().gemm->sum;
    sum(parts.data, groups, 0, weight_.gradient, weight_.value.size());
    if (bias_.value)
      sum(parts.data, groups, gradient_sums_.bias_at(), bias_.gradient, y_.shape.channels);
  }

  Index scratch_bytes(Index) const override {
    return planes_bytes(x_) + planes_bytes(y_) +
           std::max(product_.scratch_bytes(), gradient_sums_.scratch_bytes());
  }

  const char* algorithm() const override { return "direct"; }

 private:
  /// Of one sample: x where it is not one plane already, y or dy, and what the passes need.
  struct Scratch {
    T *x, *y;
    std::byte* rest;
    Scratch(const PlanesOp& op, void* memory) {
      auto* const bytes = static_cast<std::byte*>(memory);
      x = reinterpret_cast<T*>(bytes);
      y = reinterpret_cast<T*>(bytes + op.planes_bytes(op.x_));
      rest = bytes + op.planes_bytes(op.x_) + op.planes_bytes(op.y_);
    }
  };

  static Index slack() { return kernel_table<T>().lanes; }  // that is read behind planes
  static Index planes_bytes(const Value<T>& v) {
    return Index(round_up((v.sample_values() + slack()) * sizeof(T), alignment));
  }
  /// The padding too, which takes less than to leave it out.
  static void to_planes(const T* rows, const Value<T>& v, T* planes) {
    kernel_table<T>().layout->transpose(rows, v.width, planes, v.shape.pixels(), v.shape.pixels(),
                                        v.width, v.shape.pixels());
  }
  static const T* planes_of(const T* rows, const Value<T>& v, T* planes) {
    if (v.is_row()) return rows;
    to_planes(rows, v, planes);
    return planes;
  }

  using WeightedOp<T>::x_, WeightedOp<T>::weight_, ConvolutionOp<T>::y_, ConvolutionOp<T>::bias_,
      ConvolutionOp<T>::packed_, ConvolutionOp<T>::gradients_;
  PlaneProduct<T> product_;
  PlaneGradient<T> gradient_sums_;
};

}  // namespace

template <class T>
bool planes_suit(const ConvGeometry& g, const Site<T>& site) {
  const auto& table = kernel_table<T>();
  return !site.wants_dx && g.groups == 1 && g.filters <= table.planes->filters &&
         g.filters < table.lanes && g.out[2] >= table.lanes &&
         g.channels * g.taps() <= longest_chain;
}

template <class T>
OpPtr<T> make_conv_planes(Plan<T>& plan, const ConvGeometry& geometry, const Site<T>& site) {
  return std::make_unique<PlanesOp<T>>(plan, with_long_rows(geometry), site);
}

template bool planes_suit(const ConvGeometry&, const Site<float>&);
template bool planes_suit(const ConvGeometry&, const Site<double>&);
template OpPtr<float> make_conv_planes(Plan<float>&, const ConvGeometry&, const Site<float>&);
template OpPtr<double> make_conv_planes(Plan<double>&, const ConvGeometry&, const Site<double>&);

}  // namespace piste
