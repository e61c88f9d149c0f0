// Running a network: plans on demand, then prepare, forward, backward, finish, update.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "dispatch/dispatch.h"
#include "engine/lap.h"
#include "engine/network_impl.h"

namespace piste {
namespace {

template <class T>
void check_augmentation(const Augmentation<T>* a, const Shape& sample) {
  if (!a) return;
  check(sample.rank() == 3, "augment", "expected images, got samples of shape ", sample);
  check(a->flip >= 0 && a->flip <= 1 && a->padding >= 0 && a->padding <= 1 << 20, "augment",
        "a probability of ", a->flip, " or a padding of ", a->padding, " makes no sense");
  for (const std::vector<T>* values : {&a->mean, &a->std})
    check(values->empty() || static_cast<Index>(values->size()) == sample[0], "augment",
          "expected ", sample[0], " channels, got ", values->size());
}

}  // namespace

template <class T>
Shape Network<T>::output_shape(const Shape& sample_shape) const {
  check(!nodes_.empty(), "network", "the network has no layers");
  return infer_shapes(nodes_, sample_shape)[output_].logical();
}

template <class T>
std::vector<View<T>> Network<T>::gradients() {
  std::vector<View<T>> views;
  for (Parameter& p : parameters_) views.push_back({p.gradient.data(), p.value.shape});
  return views;
}

template <class T>
void Network<T>::predict(const Input& x, View<T> out, const Augmentation<T>* augmentation) {
  check_augmentation(augmentation, x.sample_shape());
  const Shape sample = x.sample_shape();
  const Index n = x.samples();
  const Shape result = output_shape(sample);
  check(out.size() == n * result.size(), "predict", "out has shape ", out.shape, " for ", n,
        " samples of ", result);
  Watch watch(question_);
  Run<T> run;
  run.watch = &watch;
  run.input_scale = input_scale_;
  run.augmentation = augmentation;
  run.input_shift = input_shift_;
  for (Index first = 0; first < n; first += predict_batch) {
    Plan<T>& p = plan(PlanMode::predict, std::min(predict_batch, n - first), sample);
    const FixedThreads threads(p.threads());
    run.x = x.from(first);
    run.out = out.data + first * result.size();
    if (first == 0 || n - first < predict_batch) p.prepare();
    p.run_forward(run);
  }
}

template <class T>
void Network<T>::forward(const Input& x, View<T> out, bool training, std::uint64_t seed,
                         Index step) {
  const Shape sample = x.sample_shape();
  check(x.shape[0] > 0, "forward", "expected at least one sample");
  check(out.size() == x.shape[0] * output_shape(sample).size(), "forward", "out has shape ",
        out.shape);
  manual_ = nullptr;
  Plan<T>& p = plan(PlanMode::manual, x.shape[0], sample);
  Watch watch(question_);
  auto run = std::make_unique<Run<T>>();
  run->watch = &watch;
  run->training = training;
  run->seed = seed;
  run->step = step;
  run->x = x;
  run->input_scale = input_scale_;
  run->input_shift = input_shift_;
  run->out = out.data;
  p.prepare();
  p.run_forward(*run);
  if (training) p.commit();
  manual_ = &p;
  manual_run_ = std::move(run);
}

template <class T>
void Network<T>::backward(View<const T> grad_output, View<T> grad_input) {
  check(manual_ != nullptr, "backward", "call forward first");
  const Shape& x = manual_run_->x.shape;
  check(grad_output.size() == x[0] * output_shape(manual_run_->x.sample_shape()).size(), "backward",
        "grad_output has shape ", grad_output.shape,
        ", which is not the shape of the last forward's output");
  if (grad_input)
    check(grad_input.shape == x, "backward", "grad_input has shape ", grad_input.shape,
          ", expected ", x);
  Watch watch(question_);
  manual_run_->watch = &watch;
  manual_run_->grad_output = grad_output.data;
  manual_run_->grad_input = grad_input.data;
  manual_->run_backward(*manual_run_);
  manual_->finish();
}

/// What a sample's gradient is multiplied by; `divisor` turns the sum of losses into the loss. It
/// is 0 where nothing counts: nothing is divided then.
template <class T>
T Network<T>::loss_scale(const Loss<T>& loss, const Target<T>& y, const std::int64_t* order,
                         Index batch, const Shape& output_shape, double& divisor) const {
  divisor = 1;
  if (loss.reduction == Reduction::sum) return 1;
  // Mean over all values, or over rows of classes, weighted where weights were given; or over
  // samples.
  const Index features = output_shape.size();
  Index rows = loss.kind == LossKind::pointwise ? features : features / output_shape[0];
  if (loss.reduction == Reduction::batch_mean) rows = 1;
  const bool by_class = !loss.class_weight.empty() && loss.kind != LossKind::multi_margin;
  divisor = 0;
  for (Index i = 0; i < batch; ++i) {
    const Index sample = order ? order[i] : i;
    const double weight = y.sample_weight ? y.sample_weight.data[sample] : 1.0;
    if (!y.labels) {
      divisor += weight * static_cast<double>(rows);
      continue;
    }
    for (Index row = 0; row < rows; ++row) {
      const Index label = y.labels.data[sample * rows + row];
      if (label == loss.ignore_index) continue;
      divisor += weight * (by_class ? loss.class_weight[label] : 1.0);
    }
  }
  if (divisor == 0) return 1;
  const T scale = static_cast<T>(1 / divisor);
  check(std::isnormal(scale), "loss", "weights: those of a batch sum up to ", divisor,
        ", by which a mean cannot be divided in ", sizeof(T) == 4 ? "float32" : "float64");
  return scale;
}

template <class T>
void Network<T>::train(const Input& x, const Target<T>& y, View<const std::int64_t> order,
                       Index batch_size, Index first_batch, double time_limit, const Loss<T>& loss,
                       Optimizer<T>& optimizer, std::uint64_t seed, Index step, Progress& progress,
                       const Augmentation<T>* augmentation) {
  const Shape sample = x.sample_shape(), result = output_shape(sample);
  check(batch_size >= 1, "train", "batch size ", batch_size, " is below 1");
  check_targets(x, y, order, loss, result);
  check_optimizer(optimizer);
  check_augmentation(augmentation, sample);
  const Index n = order.size(), batches = (n + batch_size - 1) / batch_size;
  const auto start = std::chrono::steady_clock::now();
  // Calls that follow one another go on adding to one sum: its bits don't tell where they were cut.
  const double loss_sum = progress.loss_sum;
  progress = {};
  progress.loss_sum = loss_sum;
  Watch watch(question_);
  Run<T> run;
  run.watch = &watch;
  run.training = true;
  run.seed = seed;
  run.x = x;
  run.y = y;
  run.input_scale = input_scale_;
  run.augmentation = augmentation;
  run.input_shift = input_shift_;
  run.loss = &loss;
  run.step = step;
  const Node* layer = batch_size == 1 ? only_linear(sample, optimizer, augmentation) : nullptr;
  if (layer && first_batch < batches) {
    first_batch = train_linear(*layer, run, order, first_batch, time_limit, optimizer, progress);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (spent.count() >= time_limit && progress.batches > 0) return;
  }
  run.times = timed_ ? &times_ : nullptr;
  for (Index batch = first_batch; batch < batches; ++batch) {
    if (optimizer.out_of_rates()) break;
    const Index first = batch * batch_size, count = std::min(batch_size, n - first);
    Plan<T>& p = plan(PlanMode::train, count, sample);
    const FixedThreads threads(p.threads());
    run.order = order.data + first;
    run.step = step + progress.batches;
    double divisor;
    run.loss_scale = loss_scale(loss, y, run.order, count, result, divisor);
    // Sums of gradients are divided when they are whole.
    if (optimizer.accumulate > 1) run.loss_scale = 1;
    const auto loss_now = [&] {
      {
        const Lap lap(timed_ ? &times_.prepare : nullptr);
        p.prepare();
      }
      p.run_forward(run);
      double sum = 0;
      for (double part : p.loss_sums) sum += part;
      return divisor == 0 ? sum : sum / divisor;
    };
    progress.loss = loss_now();
    double correct = 0;
    for (double part : p.correct_sums) correct += part;
    bool sound = std::isfinite(progress.loss);
    if (sound) {
      {
        const Lap lap(timed_ ? &times_.finish : nullptr);
        p.finish();
      }
      const Lap lap(timed_ ? &times_.update : nullptr);
      sound =
          learn(optimizer, loss.reduction == Reduction::sum ? 0 : divisor, batch + 1 == batches);
    }
    if (!sound) return diverged(run, count, sample, optimizer, progress);
    p.commit();
    if (optimizer.averages_are_due()) optimizer.average();
    undo_of(optimizer).step_done();
    ++progress.batches;
    progress.samples += count;
    progress.correct += static_cast<Index>(correct);
    progress.loss_sum += progress.loss * static_cast<double>(count);
    // Whether an epoch's last step went too far no loss of a next step tells: it is asked for here.
    if (optimizer.update_at_end && batch + 1 == batches && !optimizer.undo->empty()) {
      run.step = step + progress.batches;
      const double last = std::exchange(progress.loss, loss_now());
      if (!std::isfinite(progress.loss)) return diverged(run, count, sample, optimizer, progress);
      progress.loss = last;
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (spent.count() >= time_limit) break;
  }
}

template <class T>
Progress Network<T>::evaluate(const Input& x, const Target<T>& y, Index batch_size,
                              const Loss<T>& loss, const Augmentation<T>* augmentation) {
  const Shape sample = x.sample_shape(), result = output_shape(sample);
  check(batch_size >= 1, "evaluate", "batch size ", batch_size, " is below 1");
  check_targets(x, y, {}, loss, result);
  check_augmentation(augmentation, sample);
  std::vector<std::int64_t> order(batch_size);
  Progress progress;
  Watch watch(question_);
  Run<T> run;
  run.watch = &watch;
  run.x = x;
  run.y = y;
  run.input_scale = input_scale_;
  run.augmentation = augmentation;
  run.input_shift = input_shift_;
  run.loss = &loss;
  run.order = order.data();
  for (Index first = 0; first < x.shape[0]; first += batch_size) {
    const Index count = std::min(batch_size, x.shape[0] - first);
    for (Index i = 0; i < count; ++i) order[i] = first + i;
    Plan<T>& p = plan(PlanMode::evaluate, count, sample);
    const FixedThreads threads(p.threads());
    p.prepare();
    p.run_forward(run);
    for (double part : p.loss_sums) progress.loss_sum += part;
    for (double part : p.correct_sums) progress.correct += static_cast<Index>(part);
    progress.samples += count;
    ++progress.batches;
  }
  double divisor;
  loss_scale(loss, y, nullptr, x.shape[0], result, divisor);
  progress.loss = divisor == 0 ? progress.loss_sum : progress.loss_sum / divisor;
  return progress;
}

/// Labels and sizes, before they index anything.
template <class T>
void Network<T>::check_targets(const Input& x, const Target<T>& y, View<const std::int64_t> order,
                               const Loss<T>& loss, const Shape& result) const {
  const Index n = x.shape[0], rows = result.size() / result[0];
  check(bool(y.labels) != bool(y.dense), "loss", "expected labels or dense targets");
  if (y.labels) {
    check(loss.kind != LossKind::pointwise, "loss", "expected numbers for targets, got labels");
    check(loss.kind != LossKind::multi_margin || rows == 1, "loss",
          "expected an output of one row of classes per sample, got ", result);
    check(y.labels.size() == n * rows, "loss", "expected ", n * rows, " labels, got ",
          y.labels.size());
    for (Index i = 0; i < n * rows; ++i) {
      const Index label = y.labels.data[i];
      check((label >= 0 && label < result[0]) || label == loss.ignore_index, "loss", "label ",
            label, " at index ", i, " is not in [0, ", result[0], ")");
    }
  } else {
    check(loss.kind == LossKind::pointwise || loss.kind == LossKind::cross_entropy, "loss",
          "expected labels for targets, got numbers");
    check(y.dense.size() == n * result.size(), "loss", "expected targets of shape ", result,
          " per sample for ", n, " samples, got ", y.dense.shape);
  }
  if (y.sample_weight)
    check(y.sample_weight.size() == n, "loss", "expected ", n, " sample weights, got ",
          y.sample_weight.size());
  if (!loss.class_weight.empty())
    check(static_cast<Index>(loss.class_weight.size()) == result[0], "loss", "expected ", result[0],
          " class weights, got ", loss.class_weight.size());
  for (const std::vector<T>* values : {&loss.weight, &loss.extra})
    check(values->empty() || static_cast<Index>(values->size()) == result.size(), "loss",
          "expected ", result.size(), " weights of an output's values, got ", values->size());
  for (Index i = 0; i < order.size() && order; ++i)
    check(order.data[i] >= 0 && order.data[i] < n, "train", "sample index ", order.data[i],
          " is not in [0, ", n, ")");
}

template class Network<float>;
template class Network<double>;

}  // namespace piste
