// From gradients to new weights, and what is done where they are not finite.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/ftz.h"
#include "base/parallel.h"
#include "dispatch/dispatch.h"
#include "engine/network_impl.h"
#include "ops/elementwise.h"
#include "ops/update.h"

namespace piste {
namespace {

constexpr Index block_values = Index{1} << 14;  // that one task updates
Index blocks_of(Index values) { return (values + block_values - 1) / block_values; }

template <class T>
const auto& update_kernels() {
  return *kernel_table<T>().update;
}

/// Each array's states as the kernel takes them, from value `first` on.
template <class T>
std::array<T*, Optimizer<T>::max_states> states_at(const typename Optimizer<T>::States& states,
                                                   Index first) {
  std::array<T*, Optimizer<T>::max_states> at;
  for (std::size_t s = 0; s < at.size(); ++s) at[s] = states[s] ? states[s].data + first : nullptr;
  return at;
}

/// Hyperparameters of array i for the next update.
template <class T>
Hyperparameters next_hyperparameters(const Optimizer<T>& o, std::size_t i) {
  Hyperparameters h = o.options[i];
  const auto row = static_cast<std::size_t>(o.counters.rates_used);
  if (!o.rates.empty()) h.lr = o.rates[row * o.options.size() + i];
  if (!o.momenta.empty()) h.momentum = h.beta1 = o.momenta[row];
  return h;
}

}  // namespace

/// Sizes of all that an update reads or writes.
template <class T>
void Network<T>::check_optimizer(const Optimizer<T>& o) const {
  const std::size_t n = parameters_.size();
  check(o.options.size() == n && o.states.size() == n && (o.accumulate <= 1 || o.sums.size() == n),
        "optimizer", "expected options, states and sums of ", n, " arrays");
  for (std::size_t i = 0; i < n; ++i) {
    const Hyperparameters& h = o.options[i];
    const bool momentum = h.momentum != 0 || !o.momenta.empty();
    const bool needed[][Optimizer<T>::max_states] = {{momentum, false, false},
                                                     {true, true, h.amsgrad},
                                                     {true, h.centered, momentum},
                                                     {true, false, false}};
    for (int s = 0; s < Optimizer<T>::max_states; ++s) {
      const View<T>& state = o.states[i][s];
      check(state || !needed[static_cast<int>(o.rule)][s], "optimizer", "array ", i,
            " lacks its state ", s);
      check(!state || state.size() == parameters_[i].value.size(), "optimizer", "state ", s,
            " of array ", i, " has shape ", state.shape, ", expected ", parameters_[i].value.shape);
    }
    check(o.accumulate <= 1 || o.sums[i].size() == parameters_[i].value.size(), "optimizer", "sum ",
          i, " has shape ", o.accumulate <= 1 ? Shape{} : o.sums[i].shape, ", expected ",
          parameters_[i].value.shape);
  }
}

/// Calls body(block, parameter, first value, count) for blocks of all parameters, in parallel.
template <class T>
template <class Body>
void Network<T>::for_each_block(Body&& body) {
  std::vector<Index>& ends = learning_->ends;
  ends.clear();
  Index blocks = 0;
  for (const Parameter& p : parameters_)
    ends.push_back(blocks += blocks_of(Index(p.gradient.size())));
  learning_->squares.resize(blocks);
  parallel_for(blocks, [&](Index block, int) {
    const std::size_t i = std::upper_bound(ends.begin(), ends.end(), block) - ends.begin();
    const Index values = static_cast<Index>(parameters_[i].gradient.size());
    const Index first = (block - (ends[i] - blocks_of(values))) * block_values;
    body(block, i, first, std::min(block_values, values - first));
  });
}

/// Runs change(parameter, first value, gradient, count) on all blocks of the gradient and sums
/// their squares. Returns whether all values are finite then.
template <class T>
template <class Change>
bool Network<T>::change_gradient(Change&& change) {
  std::atomic<bool> finite{true};
  for_each_block([&](Index block, std::size_t i, Index first, Index n) {
    T* gradient = parameters_[i].gradient.data() + first;
    change(i, first, gradient, n);
    const double squares = learning_->squares[block] = update_kernels<T>().sum_squares(gradient, n);
    // Where the sum is finite all of its terms are.
    if (!std::isfinite(squares) && !update_kernels<T>().all_finite(gradient, n)) finite = false;
  });
  return finite;
}

/// Bounds the gradient's values, then its norm.
template <class T>
void Network<T>::clip(const Optimizer<T>& o) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if (o.clip_value < infinity)
    change_gradient([&](std::size_t, Index, T* g, Index n) {
      update_kernels<T>().clip(g, n, static_cast<T>(o.clip_value), T(1));
    });
  if (!(o.clip_norm < infinity)) return;
  double squares = 0;
  for (double part : learning_->squares) squares += part;
  double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) {  // the squares overflow: once more, on a scale where they don't
    double largest = 0, sum = 0;
    for (const Parameter& p : parameters_)
      for (const T g : p.gradient) largest = std::max(largest, std::abs(double(g)));
    for (const Parameter& p : parameters_)
      for (const T g : p.gradient) sum += (g / largest) * (g / largest);
    norm = largest * std::sqrt(sum);
  }
  const double factor = o.clip_norm / (norm + 1e-6);
  if (factor < 1)
    change_gradient([&](std::size_t, Index, T* g, Index n) {
      update_kernels<T>().clip(g, n, infinity, static_cast<T>(factor));
    });
}

/// One batch's gradient: into the sums, or into the weights once it is known to be sound. Returns
/// false, and changes nothing, where a gradient is not finite or the update would overflow.
template <class T>
bool Network<T>::learn(Optimizer<T>& o, double divisor, bool last) {
  constexpr double safe = sizeof(T) == 4 ? 1e15 : 1e120;
  auto& counters = o.counters;
  if (!change_gradient([](std::size_t, Index, T*, Index) {})) return false;
  const bool update = counters.gathered + 1 >= o.accumulate || (last && o.update_at_end);
  if (!update) {
    for (const double squares : learning_->squares)
      if (!(squares < safe * safe)) return false;
    for_each_block([&](Index, std::size_t i, Index first, Index n) {
      T* const sum = o.sums[i].data + first;
      const T* const g = parameters_[i].gradient.data() + first;
      if (counters.gathered)
        kernel_table<T>().pointwise->add(sum, g, sum, n);
      else
        std::copy_n(g, n, sum);
    });
    ++counters.gathered;
    counters.divisor += divisor;
    ++undo_of(o).steps;
    return true;
  }
  if (o.accumulate > 1) {
    const double whole = counters.divisor + divisor;
    const T scale = static_cast<T>(whole == 0 ? 1 : 1 / whole);
    const bool finite = change_gradient([&](std::size_t i, Index first, T* g, Index n) {
      if (counters.gathered) kernel_table<T>().pointwise->add(o.sums[i].data + first, g, g, n);
      update_kernels<T>().clip(g, n, std::numeric_limits<T>::infinity(), scale);
    });
    if (!finite) return false;
  }
  clip(o);

  std::vector<UpdateOptions<T>>& options = learning_->options;
  options.clear();
  bool careful = false, far = false;
  std::size_t block = 0;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Hyperparameters h = next_hyperparameters(o, i);
    options.push_back(update_options<T>(o.rule, h, counters.updates + 1));
    const bool scaled = o.rule != UpdateRule::sgd;  // steps don't grow with the gradient
    if (!(h.lr < 1e10) || (scaled && h.eps < 1e-30)) careful = true;
    // Sound steps are short; those that end in overflow grow from step to step.
    if (h.lr * h.weight_decay > 1 || h.momentum >= 1 || (scaled && h.lr > 0.1)) far = true;
    for (Index b = blocks_of(Index(parameters_[i].gradient.size())); b > 0; --b, ++block) {
      const double squares = learning_->squares[block];
      if (!(squares < safe * safe)) careful = true;
      if (!scaled && h.lr * h.lr * squares > 1) far = true;
    }
  }
  if (careful && !rehearse(o)) return false;
  Undo<T>& undo = undo_of(o);
  undo.clear();
  if (far) remember(o, undo);
  const auto step = update_kernels<T>().step[static_cast<int>(o.rule)];
  for_each_block([&](Index, std::size_t i, Index first, Index n) {
    step(parameters_[i].value.data + first, parameters_[i].gradient.data() + first,
         states_at<T>(o.states[i], first).data(), n, options[i]);
  });
  ++counters.updates;
  if (!o.rates.empty()) ++counters.rates_used;
  counters.gathered = 0;
  counters.divisor = 0;
  undo.steps = 1;
  return true;
}

/// Whether the update leaves all values finite, tried on copies: only where numbers are near
/// overflow, or may be divided by 0.
template <class T>
bool Network<T>::rehearse(const Optimizer<T>& o) const {
  FlushToZero guard;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    const Index n = static_cast<Index>(p.gradient.size());
    std::vector<T> value(p.value.data, p.value.data + n);
    std::array<std::vector<T>, Optimizer<T>::max_states> copies;
    typename Optimizer<T>::States states;
    for (std::size_t s = 0; s < states.size(); ++s) {
      if (!o.states[i][s]) continue;
      copies[s].assign(o.states[i][s].data, o.states[i][s].data + n);
      states[s] = {copies[s].data(), p.value.shape};
    }
    update_kernels<T>().step[static_cast<int>(o.rule)](
        value.data(), p.gradient.data(), states_at<T>(states, 0).data(), n, learning_->options[i]);
    if (!update_kernels<T>().all_finite(value.data(), n)) return false;
    for (const std::vector<T>& copy : copies)
      if (!update_kernels<T>().all_finite(copy.data(), static_cast<Index>(copy.size())))
        return false;
  }
  return true;
}

/// Keeps what the next update will change, in case that the step turns out to have gone too far.
template <class T>
void Network<T>::remember(const Optimizer<T>& o, Undo<T>& undo) const {
  undo.counters = o.counters;
  const auto keep = [&](const View<T>& array) {
    undo.remember(array.data, array ? array.size() : 0);
  };
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    keep(parameters_[i].value);
    for (const View<T>& state : o.states[i]) keep(state);
  }
  for (const View<T>& sum : o.sums) keep(sum);
  for (const View<T>& mean : o.averages.means) keep(mean);
  for (const Node& node : nodes_) {
    undo.remember(static_cast<T*>(node.running_mean), node.channels);
    undo.remember(static_cast<T*>(node.running_var), node.channels);
  }
}

/// Names what is not finite, and takes back the steps from the last update on where that has led
/// here.
template <class T>
void Network<T>::diverged(const Run<T>& run, Index batch, const Shape& sample_shape,
                          Optimizer<T>& optimizer, Progress& progress) {
  progress.diverged = true;
  progress.step = run.step;
  progress.layer = first_bad_layer(run, batch, sample_shape);
  const bool update_overflows =
      std::isfinite(progress.loss) &&
      std::all_of(parameters_.begin(), parameters_.end(), [&](const Parameter& p) {
        return update_kernels<T>().all_finite(p.gradient.data(),
                                              static_cast<Index>(p.gradient.size()));
      });
  Undo<T>& undo = undo_of(optimizer);
  if (update_overflows || progress.layer == nodes_[0].name || !undo.run()) return;
  optimizer.counters = undo.counters;
  for (const Node& node : nodes_)
    if (node.batches_tracked) *node.batches_tracked -= undo.steps;
  progress.undone = undo.steps;
  progress.step -= undo.steps;
}

/// Rare and slow: runs the batch layer by layer to name the first that is not finite.
template <class T>
std::string Network<T>::first_bad_layer(const Run<T>& failed, Index batch,
                                        const Shape& sample_shape) {
  for (const Parameter& p : parameters_)
    if (!update_kernels<T>().all_finite(p.value.data, p.value.size())) return p.layer;
  Run<T> run = failed;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    std::vector<Trainable<T>> trainables;
    for (Parameter& p : parameters_) trainables.push_back({p.value, p.gradient.data()});
    const std::vector<Node> prefix(nodes_.begin(), nodes_.begin() + i + 1);
    Plan<T> p(PlanMode::manual, batch);
    lower(Graph<T>{prefix, trainables, static_cast<int>(i)}, sample_shape, p);
    const Index values = batch * infer_shapes(prefix, sample_shape)[i].features();
    std::vector<T> out(values);
    run.out = out.data();
    p.prepare();
    p.run_forward(run);
    if (!update_kernels<T>().all_finite(out.data(), values)) return nodes_[i].name;
  }
  for (std::size_t i = parameters_.size(); i-- > 0;)  // backward order
    if (!update_kernels<T>().all_finite(parameters_[i].gradient.data(),
                                        parameters_[i].value.size()))
      return parameters_[i].layer;
  return nodes_[output_].name;
}

/// The first time the means become the sources.
template <class T>
void Optimizer<T>::average() {
  const double weight =
      averages.decay < 0 ? 1 / static_cast<double>(counters.averaged + 1) : 1 - averages.decay;
  for (std::size_t i = 0; i < averages.means.size(); ++i) {
    const View<T>& source = averages.sources[i];
    for_each_part(source.size(), [&](Index first, Index n) {
      T* const mean = averages.means[i].data + first;
      if (counters.averaged)
        update_kernels<T>().average(mean, source.data + first, n, static_cast<T>(weight));
      else
        std::copy_n(source.data + first, n, mean);
    });
  }
  ++counters.averaged;
}

template <class T>
void Optimizer<T>::put_averages(bool in_place) {
  if (averages.in_place == in_place) return;
  for (std::size_t i = 0; i < averages.means.size(); ++i) {
    const View<T>& source = averages.sources[i];
    std::swap_ranges(source.data, source.data + source.size(), averages.means[i].data);
  }
  averages.in_place = in_place;
}

template struct Optimizer<float>;
template struct Optimizer<double>;
template class Network<float>;
template class Network<double>;

}  // namespace piste
