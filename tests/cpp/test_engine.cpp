// Whole networks: steps, predictions, divergence and interruption, for the sanitizers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "piste/network.h"
#include "piste/threads.h"

namespace piste {
namespace {

using test::values;

constexpr Index samples = 11, channels = 2, height = 9, width = 7, classes = 5;

/// A network with a bit of everything, and its memory.
template <class T>
struct Model {
  std::vector<std::vector<T>> arrays;
  Network<T> network;
  Optimizer<T> optimizer;
  std::vector<std::size_t> trainable;

  View<T> array(const Shape& shape, T scale, T shift = 0) {
    arrays.push_back(
        values<T>(static_cast<std::size_t>(shape.size()), static_cast<int>(arrays.size())));
    for (T& value : arrays.back()) value = value * scale + shift;
    return {arrays.back().data(), shape};
  }
  View<T> parameter(const Shape& shape, T scale = T(0.1)) {
    trainable.push_back(arrays.size());
    return array(shape, scale);
  }

  int batch_norm(int x, Index features, const char* name) {
    const View<T> weight = parameter({features}), bias = parameter({features});
    return network.batch_norm(x, name, 2, features, weight, bias, array({features}, 0),
                              array({features}, 0, 1), {}, T(0.1), T(1e-5));
  }

  int conv(int x, Index in, Index out, Index kernel, Index groups, const char* name) {
    ConvOptions options;
    options.pad_low = options.pad_high = {0, kernel / 2, kernel / 2};
    options.groups = groups;
    const View<T> weight = parameter({out, in / groups, kernel, kernel}), bias = parameter({out});
    return network.conv(x, name, weight, bias, options);
  }

  /// `in_one_pass`: with a norm whose pass adds and applies ReLU.
  explicit Model(bool in_one_pass = false) {
    arrays.reserve(128);
    int x = network.input();
    x = conv(x, channels, 6, 3, 1, "0");
    x = batch_norm(x, 6, "1");
    x = network.activation(x, "2", Activation::relu, 0, 0);
    int y = conv(x, 6, 6, 3, 6, "3");
    y = network.activation(y, "4", Activation::tanh, 0, 0);
    if (in_one_pass) y = batch_norm(y, 6, "4.norm");
    x = network.add(y, x, "5");
    if (in_one_pass) x = network.activation(x, "5.relu", Activation::relu, 0, 0);
    x = network.max_pool(x, "6", 2, {{1, 2, 2}, {1, 2, 2}, {0, 0, 0}, {1, 1, 1}, true});
    x = conv(x, 6, 17, 1, 1, "7");
    x = network.avg_pool(x, "8", 2, {{1, 3, 2}, {1, 1, 1}, {0, 1, 1}}, true, 0);
    x = network.adaptive_pool(x, "9", 2, {0, 3, 2}, false);
    x = network.flatten(x, "10");
    x = network.dropout(x, "11", T(0.3));
    const View<T> weight = parameter({classes, 17 * 6}), bias = parameter({classes});
    network.output(network.linear(x, "12", weight, bias));
    network.set_input_scale(T(1) / 255, 0);
    const std::size_t n = trainable.size();
    optimizer.options.resize(n);
    for (Hyperparameters& h : optimizer.options) h.lr = 0.05, h.momentum = 0.9;
    const std::vector<std::size_t> owners = trainable;
    for (const std::size_t owner : owners)
      optimizer.states.push_back({array({static_cast<Index>(arrays[owner].size())}, 0)});
  }
};

struct Data {
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels, order;
  Data() {
    for (Index i = 0; i < samples * channels * height * width; ++i)
      images.push_back(static_cast<std::uint8_t>(i * 89 % 251));
    for (Index i = 0; i < samples; ++i) {
      labels.push_back(i % classes);
      order.push_back((i * 7) % samples);
    }
  }
  Input input() const { return {images.data(), {samples, channels, height, width}}; }
  template <class T>
  Target<T> target() const {
    return {{labels.data(), {samples}}, {}, {}};
  }
};

template <class T>
Progress train(Model<T>& model, const Data& data, Index batch_size, Index step = 0) {
  Progress progress;
  model.network.train(data.input(), data.target<T>(), {data.order.data(), {samples}}, batch_size, 0,
                      1e9, Loss<T>{}, model.optimizer, 3, step, progress);
  return progress;
}

template <class T>
void test_steps_have_the_same_bits_on_any_number_of_threads() {
  const Data data;
  std::vector<std::vector<T>> first;
  for (const int threads : {1, 2, 4}) {
    set_num_threads(threads);
    Model<T> model(true);
    for (const Index batch_size : {4, 11, 3}) {
      const Progress progress = train(model, data, batch_size);
      EXPECT(!progress.diverged);
      EXPECT(progress.samples == samples);
      EXPECT(std::isfinite(progress.loss));
    }
    if (first.empty()) first = model.arrays;
    EXPECT(first == model.arrays);
    std::vector<T> out(samples * classes);
    model.network.predict(data.input(), {out.data(), {samples, classes}});
    for (const T value : out) EXPECT(std::isfinite(value));
    const Progress all = model.network.evaluate(data.input(), data.target<T>(), 4, Loss<T>{});
    EXPECT(all.samples == samples && std::isfinite(all.loss));
  }
}

template <class T>
void test_forward_and_backward_by_hand() {
  const Data data;
  Model<T> model(true);
  const std::vector<T> x = values<T>(samples * channels * height * width, 4);
  const Input input{x.data(), {samples, channels, height, width}};
  std::vector<T> out(samples * classes), dx(x.size());
  for (const bool training : {true, false}) {
    model.network.forward(input, {out.data(), {samples, classes}}, training, 0, 0);
    const std::vector<T> dy = values<T>(out.size(), 9);
    model.network.backward({dy.data(), {samples, classes}}, {dx.data(), input.shape});
    EXPECT(std::any_of(dx.begin(), dx.end(), [](T value) { return value != 0; }));
  }
}

template <class T>
void test_divergence_leaves_finite_weights() {
  const Data data;
  Model<T> model;
  for (Hyperparameters& h : model.optimizer.options) h.lr = 1e8;
  Progress progress;
  for (Index step = 0; step < 200 && !progress.diverged; ++step)
    progress = train(model, data, samples, step);
  EXPECT(progress.diverged);
  EXPECT(!progress.layer.empty());
  for (const auto& array : model.arrays)
    for (const T value : array) EXPECT(std::isfinite(value));
  EXPECT(std::isfinite(
      model.network.evaluate(data.input(), data.target<T>(), samples, Loss<T>{}).loss));
  model.arrays[0][0] = std::numeric_limits<T>::quiet_NaN();
  progress = train(model, data, samples);
  EXPECT(progress.diverged && progress.layer == "0" && progress.undone == 0);
}

/// Every rule with all of its states, on clipped gradients of two batches, with averages.
template <class T>
void test_every_rule_learns() {
  const Data data;
  for (const UpdateRule rule :
       {UpdateRule::sgd, UpdateRule::adam, UpdateRule::rmsprop, UpdateRule::adagrad}) {
    Model<T> model;
    Optimizer<T>& o = model.optimizer;
    o.rule = rule;
    o.clip_value = 0.5;
    o.clip_norm = 1;
    o.accumulate = 2;
    o.update_at_end = true;
    o.averages.decay = 0.5;
    o.averages.every = 1;
    for (std::size_t i = 0; i < o.options.size(); ++i) {
      Hyperparameters& h = o.options[i];
      h.beta1 = h.beta2 = h.alpha = 0.9;
      h.eps = 1e-8;
      h.amsgrad = h.centered = true;
      h.lr = 0.01;
      std::vector<T>& owner = model.arrays[model.trainable[i]];
      const Shape shape{static_cast<Index>(owner.size())};
      for (View<T>& state : o.states[i]) state = model.array(shape, 0);
      o.sums.push_back(model.array(shape, 0));
      o.averages.sources.push_back({owner.data(), shape});
      o.averages.means.push_back(model.array(shape, 0));
    }
    const std::size_t n = o.options.size();
    o.rates.assign(2 * n, 0.01);
    const Progress progress = train(model, data, 4);  // 3 batches: 2 updates
    EXPECT(!progress.diverged && progress.batches == 3);
    EXPECT(o.counters.updates == 2 && o.counters.gathered == 0 && o.counters.averaged == 2);
    EXPECT(o.out_of_rates());
    EXPECT(train(model, data, 4).batches == 0);
    for (std::size_t i = 0; i < n; ++i)
      for (Index k = 0; k < o.averages.means[i].size(); ++k)
        EXPECT(std::isfinite(o.averages.means[i].data[k]));
  }
}

struct Enough {};

template <class T>
void test_an_interrupted_call_ends_between_steps() {
  const Data data;
  Model<T> model, twin;
  static int questions = 0;
  questions = 0;
  model.network.set_question([] {
    if (++questions == 2) throw Enough();
  });
  Index steps = 0;
  bool caught = false;
  Progress progress;
  while (!caught) {
    try {
      std::vector<std::int64_t> order;
      for (int i = 0; i < 50000; ++i) order.push_back(i % samples);
      model.network.train(data.input(), data.target<T>(),
                          {order.data(), {static_cast<Index>(order.size())}}, samples, 0, 1e9,
                          Loss<T>{}, model.optimizer, 3, steps, progress);
    } catch (const Enough&) {
      caught = true;
    }
    steps += progress.batches;
  }
  std::vector<std::int64_t> order;
  for (int i = 0; i < 50000; ++i) order.push_back(i % samples);
  const Index per_call = (50000 + samples - 1) / samples;
  for (Index step = 0; step < steps; ++step) {
    Progress one;
    const Index first = step % per_call * samples;
    const Index count = std::min<Index>(samples, 50000 - first);
    twin.network.train(data.input(), data.target<T>(), {order.data() + first, {count}}, samples, 0,
                       0, Loss<T>{}, twin.optimizer, 3, step, one);
  }
  EXPECT(model.arrays == twin.arrays);
}

void test_bad_calls_are_refused() {
  Data data;
  Model<float> model;
  const std::vector<std::vector<float>> before = model.arrays;
  const auto refused = [&](const char* part) {
    try {
      train(model, data, samples);
    } catch (const ArgumentError& error) {
      return std::string(error.what()).find(part) != std::string::npos;
    }
    return false;
  };
  data.labels[3] = classes;
  EXPECT(refused("label 5 at index 3"));
  data.labels[3] = -1;
  EXPECT(refused("label -1 at index 3"));
  data.labels[3] = 0;
  data.order[2] = samples;
  EXPECT(refused("sample index 11"));
  data.order[2] = -1;
  EXPECT(refused("sample index -1"));
  EXPECT(model.arrays == before);
}

template <class T>
void test_all() {
  test_steps_have_the_same_bits_on_any_number_of_threads<T>();
  test_forward_and_backward_by_hand<T>();
  test_divergence_leaves_finite_weights<T>();
  test_every_rule_learns<T>();
  test_an_interrupted_call_ends_between_steps<T>();
}

}  // namespace
}  // namespace piste

int main() {
  piste::test_all<float>();
  piste::test_all<double>();
  piste::test_bad_calls_are_refused();
  return piste::test::failures != 0;
}
