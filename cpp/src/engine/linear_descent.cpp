// Stochastic descent on a linear model, sample by sample: logistic regression and its kin.
//
// A step of one sample is too short for a plan. Its update and the next sample's outputs are one
// pass over the weights here, which tells one step late whether they are still finite. So every
// few hundred steps the weights are kept; where numbers overflow they are put back, the steps
// before the trouble made again, and the rest left to plans, which know what to do.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

#include "base/ftz.h"
#include "dispatch/dispatch.h"
#include "engine/network_impl.h"
#include "engine/sample_reader.h"

namespace piste {
namespace {

constexpr Index kept_steps = 256;
constexpr Index steps_between_clocks = 16;

template <class T>
bool all_finite(const std::vector<T>& values) {
  return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

/// The loss of one sample's outputs, and their gradient, as a plan of one step.
template <class T>
struct SampleLoss {
  Plan<T> plan{PlanMode::train, 1};
  int y, dy;

  explicit SampleLoss(Index rows) : y(plan.fixed_tensor(rows)), dy(plan.fixed_tensor(rows)) {
    Value<T> outputs;
    outputs.shape = {rows, 1, 1, true};
    outputs.width = rows;
    outputs.tensor = y;
    Op<T>* op = plan.add(make_loss(plan, outputs, dy));
    op->info.kernel = "loss";
    op->info.input = op->info.output = outputs.shape.logical();
    op->info.forward_flops = double(rows);
    plan.schedule_forward(op, true);
    plan.end_of_forward();
    plan.seal();
  }
};

/// One linear layer's outputs, loss and update for single samples.
template <class T>
class LinearDescent {
 public:
  struct Rates {
    T lr, decay;
  };

  LinearDescent(Trainable<T> weight, Trainable<T> bias, Rates weight_rates, Rates bias_rates,
                bool maximize, const Run<T>& run)
      : weight_(weight),
        bias_(bias),
        weight_rates_(weight_rates),
        bias_rates_(bias_rates),
        sign_(maximize ? T(1) : T(-1)),
        rows_(weight.value.shape[0]),
        features_(weight.value.shape[1]),
        reader_(run.x, run.input_scale, run.input_shift),
        loss_(rows_),
        numbers_{std::vector<T>(features_), std::vector<T>(features_)},
        out_(rows_),
        steps_(rows_) {
    loss_.plan.prepare();
  }

  void prefetch(Index sample) const { reader_.prefetch(sample); }

  /// Reads the first sample.
  void begin(Index sample) {
    x_ = reader_.read(sample, numbers_[0].data());
    pass(nullptr, x_);
  }

  /// Loss and gradient of the sample that was read; whether they are finite.
  bool look(const Run<T>& run) {
    T* y = loss_.plan.fixed(loss_.y);
    for (Index r = 0; r < rows_; ++r) y[r] = out_[r] + (bias_.value ? bias_.value.data[r] : T(0));
    loss_.plan.run_forward(run);
    const T* dy = gradient();
    return std::isfinite(loss()) &&
           std::all_of(dy, dy + rows_, [](T value) { return std::isfinite(value); });
  }
  double loss() const { return loss_.plan.loss_sums[0]; }
  double correct() const { return loss_.plan.correct_sums[0]; }

  /// The update, and the outputs for the next sample; whether all is finite, as far as they show.
  bool step(Index next) {
    const T* dy = gradient();
    for (Index r = 0; r < rows_; ++r) steps_[r] = sign_ * weight_rates_.lr * dy[r];
    for (Index r = 0; r < (bias_.value ? rows_ : 0); ++r) {
      T& b = bias_.value.data[r];
      b = bias_rates_.decay * b + sign_ * bias_rates_.lr * dy[r];
    }
    which_ = !which_;
    const T* following = reader_.read(next, numbers_[which_].data());
    pass(steps_.data(), following);
    before_ = x_;
    x_ = following;
    return all_finite(out_);
  }

  bool bias_is_finite() const {
    return !bias_.value || std::all_of(bias_.value.data, bias_.value.data + rows_,
                                       [](T value) { return std::isfinite(value); });
  }

  /// Leaves the gradient of the last step where other steps leave theirs.
  void write_gradient() const {
    const T* dy = gradient();
    for (Index r = 0; r < rows_; ++r) {
      for (Index i = 0; i < features_; ++i)
        weight_.gradient[r * features_ + i] = dy[r] * before_[i];
      if (bias_.value) bias_.gradient[r] = dy[r];
    }
  }

 private:
  const T* gradient() const { return loss_.plan.fixed(loss_.dy); }
  void pass(const T* steps, const T* next) {
    kernel_table<T>().descent->linear_step(weight_.value.data, rows_, features_,
                                           weight_rates_.decay, steps, x_, next, out_.data());
  }

  Trainable<T> weight_, bias_;
  Rates weight_rates_, bias_rates_;
  T sign_;
  Index rows_, features_;
  SampleReader<T> reader_;
  SampleLoss<T> loss_;
  std::vector<T> numbers_[2], out_, steps_;
  bool which_ = false;
  const T *x_ = nullptr, *before_ = nullptr;
};

/// What is put back where numbers overflow.
template <class T>
struct Kept {
  std::vector<T> weight, bias;
  Progress progress;
  Index batch;

  Kept(const View<T>& w, const View<T>& b, const Progress& made, Index next) {
    keep(w, b, made, next);
  }
  void keep(const View<T>& w, const View<T>& b, const Progress& made, Index next) {
    weight.assign(w.data, w.data + w.size());
    if (b) bias.assign(b.data, b.data + b.size());
    progress = made;
    batch = next;
  }
  void put_back(const View<T>& w, const View<T>& b) const {
    std::copy(weight.begin(), weight.end(), w.data);
    if (b) std::copy(bias.begin(), bias.end(), b.data);
  }
};

}  // namespace

/// The linear layer, where the network is nothing else and the update has no state; or null.
template <class T>
const Node* Network<T>::only_linear(const Shape& sample_shape, const Optimizer<T>& o,
                                    const Augmentation<T>* augmentation) const {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const bool plain = o.rule == UpdateRule::sgd && o.accumulate <= 1 && o.rates.empty() &&
                     o.momenta.empty() && o.averages.every == 0 && o.clip_value == infinity &&
                     o.clip_norm == infinity;
  if (!plain || augmentation) return nullptr;
  const Node* found = nullptr;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const NodeKind kind = nodes_[i].kind;
    const bool last = static_cast<int>(i) == output_;
    if (kind == NodeKind::linear && last && i + 1 == nodes_.size())
      found = &nodes_[i];
    else if (kind != NodeKind::input && kind != NodeKind::flatten)
      return nullptr;
  }
  for (const Hyperparameters& h : o.options)
    if (h.momentum != 0 || h.maximize != o.options[0].maximize) return nullptr;
  const bool whole = found && sample_shape.size() == found->channels;
  return whole ? found : nullptr;
}

template <class T>
Index Network<T>::train_linear(const Node& layer, Run<T>& run, View<const std::int64_t> order,
                               Index first, double time_limit, Optimizer<T>& optimizer,
                               Progress& progress) {
  const FlushToZero guard;
  const auto start = std::chrono::steady_clock::now();
  const auto trainable = [&](int i) {
    return i < 0 ? Trainable<T>{}
                 : Trainable<T>{parameters_[i].value, parameters_[i].gradient.data()};
  };
  const auto rates = [&](int i) -> typename LinearDescent<T>::Rates {
    if (i < 0) return {0, 1};
    const Hyperparameters& h = optimizer.options[i];
    return {static_cast<T>(h.lr), static_cast<T>(1 - h.lr * h.weight_decay)};
  };
  const Trainable<T> weight = trainable(layer.weight), bias = trainable(layer.bias);
  LinearDescent<T> descent(weight, bias, rates(layer.weight), rates(layer.bias),
                           optimizer.options[0].maximize, run);
  const Shape result{weight.value.shape[0]};
  const Index step = run.step, n = order.size();
  Index batch = first, end = n;
  Kept<T> kept(weight.value, bias.value, progress, batch);
  const Index updates = optimizer.counters.updates;
  undo_of(optimizer).clear();
  descent.begin(order.data[batch]);
  while (batch < end) {
    if (batch - kept.batch == kept_steps) kept.keep(weight.value, bias.value, progress, batch);
    if (batch + 2 < n) descent.prefetch(order.data[batch + 2]);
    run.order = order.data + batch;
    run.step = step + progress.batches;
    double divisor;
    run.loss_scale = loss_scale(*run.loss, run.y, run.order, 1, result, divisor);
    bool sound = descent.look(run);
    if (sound) {
      sound = descent.step(order.data[std::min(batch + 1, n - 1)]);
      if (batch + 1 == n) sound = sound && descent.bias_is_finite();
    }
    if (!sound) {  // made again up to the step before the last, which may have to be taken back
      end = std::max(kept.batch, batch - 1);
      batch = kept.batch;
      progress = kept.progress;
      optimizer.counters.updates = updates + progress.batches;
      kept.put_back(weight.value, bias.value);
      if (batch < end) descent.begin(order.data[batch]);
      continue;
    }
    ++batch;
    ++progress.batches;
    ++progress.samples;
    progress.loss = divisor == 0 ? descent.loss() : descent.loss() / divisor;
    progress.loss_sum += progress.loss;
    progress.correct += static_cast<Index>(descent.correct());
    optimizer.counters.updates = updates + progress.batches;
    if (time_limit > 0 && progress.batches % steps_between_clocks) continue;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (spent.count() >= time_limit) break;
  }
  if (end == n) descent.write_gradient();
  return batch;
}

/// What a step of train_linear() runs: its loss, then the update, in one pass with the outputs for
/// the next sample.
template <class T>
PlanTable Network<T>::linear_table(const Node& layer) const {
  const View<T>& weight = parameters_[layer.weight].value;
  const Index rows = weight.shape[0], features = weight.shape[1];
  SampleLoss<T> loss(rows);
  PlanTable table = loss.plan.table();
  table.steps[0].bytes = 2 * rows * Index(sizeof(T));
  PlanStep pass;
  pass.pass = "backward";
  pass.layer = layer.name;
  pass.kernel = layer.bias < 0 ? "update+next linear" : "update+next linear+bias";
  pass.input = Shape{features};
  pass.output = Shape{rows};
  const Index bias = layer.bias < 0 ? 0 : rows;
  pass.bytes = Index(sizeof(T)) * (2 * (weight.size() + bias) + 2 * features + 2 * rows);
  pass.flops = 4.0 * double(weight.size());
  table.steps.push_back(std::move(pass));
  // Two samples, outputs and steps, and the weights to put back.
  table.arena_bytes += Index(sizeof(T)) * (2 * features + 2 * rows + weight.size() + bias);
  return table;
}

template const Node* Network<float>::only_linear(const Shape&, const Optimizer<float>&,
                                                 const Augmentation<float>*) const;
template const Node* Network<double>::only_linear(const Shape&, const Optimizer<double>&,
                                                  const Augmentation<double>*) const;
template PlanTable Network<float>::linear_table(const Node&) const;
template PlanTable Network<double>::linear_table(const Node&) const;
template Index Network<float>::train_linear(const Node&, Run<float>&, View<const std::int64_t>,
                                            Index, double, Optimizer<float>&, Progress&);
template Index Network<double>::train_linear(const Node&, Run<double>&, View<const std::int64_t>,
                                             Index, double, Optimizer<double>&, Progress&);

}  // namespace piste
