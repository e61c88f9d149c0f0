#include <cmath>
#include <limits>
#include <vector>

#include "engine/weighted_op.h"
#include "ops/batch_stats.h"

namespace piste {
namespace {

/// Batch norm. In training the statistics need the whole batch: phase 0 gathers moments per group
/// of samples, the sync joins them in order, phase 1 applies them; likewise backward. What is added
/// to its result, and ReLU, belong to the same pass; where y has a scale, the pass is its reader's.
template <class T>
class BatchNormOp final : public WeightedOp<T> {
 public:
  BatchNormOp(Plan<T>& plan, const Node& node, const Site<T>& site)
      : WeightedOp<T>(site), node_(node), addend_(site.addend) {
    training_ = plan.mode() == PlanMode::train || !node.running_mean;
    for (int* tensor : {&mean_, &var_, &a_, &b_, &c_}) *tensor = plan.fixed_tensor(x_.width);
    scale_ = applies() ? plan.fixed_tensor(x_.width) : y_.scale;
    shift_ = applies() ? plan.fixed_tensor(x_.width) : y_.shift;
    parts_ = plan.fixed_tensor(2 * x_.width * plan.groups());
    counts_.assign(plan.groups(), 0);
    manual_ = plan.mode() == PlanMode::manual;
    if (phased()) this->use_forward(x_.tensor);
    if (!applies()) return;
    for (int tensor : {x_.tensor, addend_.tensor, y_.tensor})
      if (tensor >= 0) this->use_forward(tensor, phased() ? 1 : 0);
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_ends(plan, dy, dx[0]);
    // Of the two that read what is passed on, this op is done with it before the other begins.
    if (addend_.tensor >= 0 && gradient_.passes()) plan.set_spare(gradient_.tensor(), true);
    for (int tensor : {x_.tensor, gradient_.tensor(), dx_}) this->use_backward(tensor, 1);
  }
  int passed_on() const override { return gradient_.tensor(); }

  // A manual plan serves training and evaluation: it always has both phases.
  bool phased() const { return training_ || manual_; }
  int forward_phases(bool) const override { return phased() ? 2 : applies() ? 1 : 0; }
  int backward_phases(bool) const override { return 2; }

  Index prepare_tasks() const override { return 1; }
  void prepare(const Memory<T>& memory, Index) override {
    std::fill(counts_.begin(), counts_.end(), 0);
    if (node_.running_mean) {
      std::copy_n(static_cast<const T*>(node_.running_mean), channels(), memory.fixed(mean_));
      std::copy_n(static_cast<const T*>(node_.running_var), channels(), memory.fixed(var_));
      set_affine(memory);
    }
  }

  void forward(int phase, const Run<T>& run, const Memory<T>& memory, const Chunk& chunk) override {
    const Index rows = chunk.count() * x_.shape.pixels();
    const auto& kernels = *kernel_table<T>().norm;
    const T* x = memory.at(x_.tensor, chunk);
    if (phased() && phase == 0) {
      if (uses_batch(run)) gather(memory, chunk, x, rows);
      return;
    }
    if (!applies()) return;
    kernels::NormAddend<T> addend;
    if (addend_.tensor >= 0) addend.x = memory.at(addend_.tensor, chunk);
    if (addend_.scale >= 0)  // of a norm
      addend.scale = memory.fixed(addend_.scale), addend.shift = memory.fixed(addend_.shift);
    kernels.scale_shift(x, addend, memory.at(y_.tensor, chunk), rows, x_.width,
                        memory.fixed(scale_), memory.fixed(shift_), this->relu_);
  }

  void forward_sync(int, const Run<T>& run, const Memory<T>& memory, Index groups) override {
    batch_statistics_ = uses_batch(run);
    if (!batch_statistics_) return;
    T* mean = memory.fixed(parts_);
    T* m2 = mean + x_.width;
    Index count = counts_[0];
    for (Index g = 1; g < groups; ++g) {
      const T* part = memory.fixed(parts_) + g * 2 * x_.width;
      combine_moments(count, mean, m2, counts_[g], part, part + x_.width, x_.width);
      count += counts_[g];
    }
    count_ = count;
    check(count > 1, node_.name.c_str(),
          "batch norm expects more than 1 value per channel in training, got a batch of 1");
    for (Index c = 0; c < x_.width; ++c) {
      memory.fixed(mean_)[c] = mean[c];
      // A sum of squares that overflows would make all values 0, and stay in the running variance:
      // the loss has to show it.
      const T var = m2[c] / static_cast<T>(count);
      memory.fixed(var_)[c] = std::isfinite(var) ? var : std::numeric_limits<T>::quiet_NaN();
    }
    set_affine(memory);
  }

  void backward(int phase, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index rows = chunk.count() * x_.shape.pixels();
    const auto& table = kernel_table<T>();
    const T* x = memory.at(x_.tensor, chunk);
    if (phase == 1) {
      if (dx_ >= 0)
        table.norm->backward_apply(memory.at(gradient_.tensor(), chunk), x, memory.at(dx_, chunk),
                                   rows, x_.width, memory.fixed(a_), memory.fixed(b_),
                                   memory.fixed(c_));
      return;
    }
    T* sums = memory.fixed(parts_) + chunk.group * 2 * x_.width;
    if (chunk.first_of_group) std::fill_n(sums, 2 * x_.width, T(0));
    table.norm->backward_sums(gradient_.at(memory, chunk), x, memory.fixed(mean_), rows, x_.width,
                              sums, sums + x_.width);
  }

  // With z = (x - mean) / std: dx = scale * (dy - mean(dy) - z * mean(dy * z)), which is
  // a * dy + b * x + c per channel.
  void backward_sync(int, const Run<T>&, const Memory<T>& memory, Index groups) override {
    const T m = static_cast<T>(count_);
    for (Index c = 0; c < channels(); ++c) {
      T sum = 0, sum_x = 0;
      for (Index g = 0; g < groups; ++g) {
        sum += memory.fixed(parts_)[g * 2 * x_.width + c];
        sum_x += memory.fixed(parts_)[g * 2 * x_.width + x_.width + c];
      }
      const T inverse = inverse_std(memory, c), scale = memory.fixed(scale_)[c];
      const T slope = batch_statistics_ ? scale * inverse * inverse * sum_x / m : T(0);
      memory.fixed(a_)[c] = scale;
      memory.fixed(b_)[c] = -slope;
      memory.fixed(c_)[c] =
          batch_statistics_ ? slope * memory.fixed(mean_)[c] - scale * sum / m : T(0);
      if (weight_.value) weight_.gradient[c] = sum_x * inverse;
      if (bias_.value) bias_.gradient[c] = sum;
    }
  }

  void commit(const Memory<T>& memory) override {
    if (!batch_statistics_ || !node_.running_mean) return;
    T* mean = static_cast<T*>(node_.running_mean);
    T* var = static_cast<T*>(node_.running_var);
    const std::int64_t seen = node_.batches_tracked ? ++*node_.batches_tracked : 1;
    const T momentum = static_cast<T>(
        node_.cumulative ? 1 / static_cast<double>(std::max<std::int64_t>(seen, 1)) : node_.a);
    const T unbiased = static_cast<T>(count_) / static_cast<T>(count_ - 1);
    for (Index c = 0; c < channels(); ++c) {
      mean[c] += momentum * (memory.fixed(mean_)[c] - mean[c]);
      var[c] += momentum * (memory.fixed(var_)[c] * unbiased - var[c]);
    }
  }

  Index scratch_bytes(Index) const override { return 2 * x_.width * static_cast<Index>(sizeof(T)); }

 private:
  Index channels() const { return x_.shape.channels; }
  bool applies() const { return y_.scale < 0; }
  bool uses_batch(const Run<T>& run) const { return run.training || !node_.running_mean; }
  T inverse_std(const Memory<T>& memory, Index c) const {
    return T(1) / std::sqrt(memory.fixed(var_)[c] + static_cast<T>(node_.b));
  }

  void set_affine(const Memory<T>& memory) {
    for (Index c = 0; c < channels(); ++c) {
      const T scale = (weight_.value ? weight_.value.data[c] : T(1)) * inverse_std(memory, c);
      memory.fixed(scale_)[c] = scale;
      memory.fixed(shift_)[c] =
          (bias_.value ? bias_.value.data[c] : T(0)) - memory.fixed(mean_)[c] * scale;
    }
  }

  void gather(const Memory<T>& memory, const Chunk& chunk, const T* x, Index rows) {
    T* mean = memory.fixed(parts_) + chunk.group * 2 * x_.width;
    T* m2 = mean + x_.width;
    const auto& kernels = *kernel_table<T>().norm;
    if (chunk.first_of_group) {
      kernels.moments(x, rows, x_.width, mean, m2);
      counts_[chunk.group] = rows;
      return;
    }
    T* part = static_cast<T*>(memory.worker_scratch(chunk));
    kernels.moments(x, rows, x_.width, part, part + x_.width);
    combine_moments(counts_[chunk.group], mean, m2, rows, part, part + x_.width, x_.width);
    counts_[chunk.group] += rows;
  }

  Node node_;
  using WeightedOp<T>::x_, WeightedOp<T>::y_, WeightedOp<T>::weight_, WeightedOp<T>::bias_,
      WeightedOp<T>::dx_, WeightedOp<T>::gradient_;
  Value<T> addend_;
  bool training_, manual_, batch_statistics_ = false;
  int mean_, var_, scale_, shift_, a_, b_, c_, parts_;
  std::vector<Index> counts_;
  Index count_ = 0;
};

}  // namespace

template <class T>
OpPtr<T> make_batch_norm(Plan<T>& plan, const Node& node, const Site<T>& site) {
  return std::make_unique<BatchNormOp<T>>(plan, node, site);
}

template OpPtr<float> make_batch_norm(Plan<float>&, const Node&, const Site<float>&);
template OpPtr<double> make_batch_norm(Plan<double>&, const Node&, const Site<double>&);

}  // namespace piste
