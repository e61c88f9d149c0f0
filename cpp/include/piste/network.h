#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "piste/activation.h"
#include "piste/algorithm.h"
#include "piste/augmentation.h"
#include "piste/conv.h"
#include "piste/input.h"
#include "piste/loss.h"
#include "piste/norm.h"
#include "piste/optimizer.h"
#include "piste/plan_table.h"
#include "piste/pool.h"
#include "piste/tensor.h"

namespace piste {

using Pair = std::array<Index, 2>;
using Triple = std::array<Index, 3>;

/// How outputs are compared with targets: cross-entropy takes labels or probabilities, the next two
/// labels, a pointwise loss numbers.
enum class LossKind { cross_entropy, nll, multi_margin, pointwise };
enum class Reduction { mean, sum, batch_mean };
/// What stands around a convolution's input: zeros; the input mirrored at its edge value; its edge
/// value; the input again from its other end.
enum class PaddingMode { zeros, reflect, replicate, circular };

template <class T>
struct Loss {
  LossKind kind = LossKind::cross_entropy;
  PointwiseLoss pointwise = PointwiseLoss::squared;
  T a = 0, b = 0;  // a pointwise loss's (kinds.h); a multi-margin loss's margin and p
  Reduction reduction = Reduction::mean;
  std::vector<T> class_weight;   // empty: all 1
  std::vector<T> weight, extra;  // of each value of one output, for pointwise losses; empty: all 1
  std::optional<Index> ignore_index = -100;
  T label_smoothing = 0;
};

/// Labels (one per sample, or per pixel of the output) or dense targets shaped as the output.
template <class T>
struct Target {
  View<const std::int64_t> labels;
  View<const T> dense;
  View<const T> sample_weight;  // null: all 1
};

struct Progress {
  Index batches = 0, samples = 0, correct = 0;
  double loss_sum = 0;  // sum over batches of loss * samples; evaluate: of the samples' losses
  bool diverged = false;
  Index undone = 0;   // steps taken back: those from the update on that led to the divergence
  Index step = 0;     // the failing step, where diverged
  double loss = 0;    // of the last step, the failing one included
  std::string layer;  // first layer that is not finite
};

template <class T>
class Plan;
template <class T>
struct Run;
struct Node;

/// A network whose layers are registered one by one and whose parameters belong to the caller.
/// Lowered to a Plan per (batch, shape, mode) on first use; plans are kept in a bounded cache.
template <class T>
class Network {
 public:
  Network();
  ~Network();

  // Builders: each returns the id of the layer's output. `name` stands in errors.
  int input();
  // `axes` is 1, 2 or 3: those of a map (channels, [[depth,] height,] width), one per size.
  int conv(int x, std::string name, View<T> weight, View<T> bias, const ConvOptions& options,
           PaddingMode padding_mode = PaddingMode::zeros);
  int conv_transpose(int x, std::string name, View<T> weight, View<T> bias,
                     const ConvOptions& options);
  int linear(int x, std::string name, View<T> weight, View<T> bias);
  int activation(int x, std::string name, Activation kind, T a, T b);
  int prelu(int x, std::string name, View<T> weight);
  int max_pool(int x, std::string name, int axes, const PoolWindow& window);
  int avg_pool(int x, std::string name, int axes, const PoolWindow& window, bool count_include_pad,
               Index divisor_override);
  /// A size of 0 keeps the axis.
  int adaptive_pool(int x, std::string name, int axes, Triple output_size, bool max);
  /// Of features or maps of so many axes (0: of any); running statistics may be null, and so may
  /// the number of batches that they have seen. Without a momentum they are the means over these.
  int batch_norm(int x, std::string name, int axes, Index channels, View<T> weight, View<T> bias,
                 View<T> running_mean, View<T> running_var, View<std::int64_t> batches_tracked,
                 std::optional<double> momentum, double eps);
  int layer_norm(int x, std::string name, std::vector<Index> normalized_shape, View<T> weight,
                 View<T> bias, double eps);
  int group_norm(int x, std::string name, int axes, Index channels, Index groups, View<T> weight,
                 View<T> bias, double eps);
  /// Groups of one channel each. Running statistics, where there are some, gather the mean over a
  /// batch's samples in training and take the place of a sample's own in evaluation.
  int instance_norm(int x, std::string name, int axes, Index channels, View<T> weight, View<T> bias,
                    View<T> running_mean, View<T> running_var, double momentum, double eps);
  int response_norm(int x, std::string name, const ResponseNormOptions& options);
  /// Of single values, or of whole channels of maps of so many axes.
  int dropout(int x, std::string name, T p, int axes = 0);
  /// Axes first_axis to last_axis, counted from the batch's or from behind, become one, or of the
  /// given sizes.
  int flatten(int x, std::string name, int first_axis = 1, int last_axis = -1);
  int unflatten(int x, std::string name, int axis, std::vector<Index> sizes);
  int add(int x, int z, std::string name);
  int concat(std::vector<int> values, std::string name);
  /// Over the channels or features (axis 1) or another axis.
  int softmax(int x, std::string name, bool log, int axis = 1);
  void output(int x);

  /// A function that is called every few dozen milliseconds of a long call, on the calling thread.
  /// Where it throws, the call ends with its exception; a step under way changes nothing.
  void set_question(void (*question)()) { question_ = question; }

  /// Whether train() adds up, from now on, where the time of its plans goes. Linear models that
  /// need no plan are not timed.
  void time_steps(bool on) { timed_ = on; }
  /// The times since they were last asked for.
  StepTimes step_times() { return std::exchange(times_, {}); }

  void set_input_scale(T scale, T shift) { input_scale_ = scale, input_shift_ = shift; }

  /// Shape of one output sample; throws ArgumentError with the layer's name where one doesn't fit.
  Shape output_shape(const Shape& sample_shape) const;

  /// The plan of one batch, laid out but not run. With an optimizer it is what train() would run
  /// for batches of one sample too, which need no plan in a linear model.
  PlanTable table(PlanMode mode, Index batch, const Shape& sample_shape,
                  const Optimizer<T>* optimizer = nullptr,
                  const Augmentation<T>* augmentation = nullptr);

  /// One array per trainable array, shaped alike; valid as long as the network lives.
  std::vector<View<T>> gradients();

  void predict(const Input& x, View<T> out, const Augmentation<T>* augmentation = nullptr);
  void forward(const Input& x, View<T> out, bool training, std::uint64_t seed, Index step);
  void backward(View<const T> grad_output, View<T> grad_input);

  /// Steps over batches first_batch, first_batch + 1, ... of `order` (sample indices) until the
  /// end, until `time_limit` seconds have passed or until the optimizer's rates end. A step that
  /// fails changes nothing; the last update is taken back, with the steps since, where it was so
  /// long that loss or gradient overflow now; the last step of an epoch is looked at right away.
  /// `progress` tells of the steps taken, also where an exception ends the call.
  void train(const Input& x, const Target<T>& y, View<const std::int64_t> order, Index batch_size,
             Index first_batch, double time_limit, const Loss<T>& loss, Optimizer<T>& optimizer,
             std::uint64_t seed, Index step, Progress& progress,
             const Augmentation<T>* augmentation = nullptr);
  /// `loss` of the result is that of all samples as one batch.
  Progress evaluate(const Input& x, const Target<T>& y, Index batch_size, const Loss<T>& loss,
                    const Augmentation<T>* augmentation = nullptr);

 private:
  struct Parameter {
    View<T> value;
    std::vector<T> gradient;
    std::string layer;
  };
  struct PlanEntry;

  std::unique_ptr<PlanEntry> make_plan(PlanMode mode, Index batch, const Shape& sample_shape);
  Plan<T>& plan(PlanMode mode, Index batch, const Shape& sample_shape);
  int add_node(Node node);
  int add_parameter(View<T> value, const std::string& layer);
  int add_weighted(Node node, View<T> weight, View<T> bias);
  T loss_scale(const Loss<T>& loss, const Target<T>& y, const std::int64_t* order, Index batch,
               const Shape& output_shape, double& divisor) const;
  void check_targets(const Input& x, const Target<T>& y, View<const std::int64_t> order,
                     const Loss<T>& loss, const Shape& output_shape) const;
  const Node* only_linear(const Shape& sample_shape, const Optimizer<T>& optimizer,
                          const Augmentation<T>* augmentation) const;
  PlanTable linear_table(const Node& layer) const;
  /// Steps of one sample each, from batch `first` on; returns the first batch that is left to do.
  Index train_linear(const Node& layer, Run<T>& run, View<const std::int64_t> order, Index first,
                     double time_limit, Optimizer<T>& optimizer, Progress& progress);
  struct Learning;  // working memory of learn()

  void check_optimizer(const Optimizer<T>& optimizer) const;
  bool learn(Optimizer<T>& optimizer, double divisor, bool last);
  template <class Change>
  bool change_gradient(Change&& change);
  void clip(const Optimizer<T>& optimizer);
  void remember(const Optimizer<T>& optimizer, Undo<T>& undo) const;
  void diverged(const Run<T>& run, Index batch, const Shape& sample_shape, Optimizer<T>& optimizer,
                Progress& progress);
  bool rehearse(const Optimizer<T>& optimizer) const;
  template <class Body>
  void for_each_block(Body&& body);
  std::string first_bad_layer(const Run<T>& run, Index batch, const Shape& sample_shape);

  std::vector<Node> nodes_;
  std::vector<Parameter> parameters_;
  std::vector<std::unique_ptr<PlanEntry>> plans_;
  Plan<T>* manual_ = nullptr;  // the plan of the last forward()
  std::unique_ptr<Run<T>> manual_run_;
  int output_ = -1;
  T input_scale_ = 1, input_shift_ = 0;
  bool timed_ = false;
  StepTimes times_;
  void (*question_)() = nullptr;
  std::unique_ptr<Learning> learning_;
};

}  // namespace piste
