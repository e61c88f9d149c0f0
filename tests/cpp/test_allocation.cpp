// What a step allocates: nothing, once it has run; and the first time what its plan said.
//
// The C library's allocator is replaced by one that counts. Sanitizers bring their own.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "check.h"
#include "piste/network.h"
#include "piste/threads.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {
std::atomic<long> calls{0};
std::atomic<std::size_t> bytes{0};

void count(std::size_t n) {
  ++calls;
  bytes += n;
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) {
  count(n);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  count(n * size);
  return __libc_calloc(n, size);
}
void* realloc(void* block, std::size_t n) {
  count(n);
  return __libc_realloc(block, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  count(n);
  return __libc_memalign(alignment, n);
}
void* memalign(std::size_t alignment, std::size_t n) {
  count(n);
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t n) {
  count(n);
  *block = __libc_memalign(alignment, n);
  return *block ? 0 : ENOMEM;
}
}

namespace piste {
namespace {

constexpr Index samples = 96, classes = 10;

/// Convolutions by both algorithms, a residual block with batch norm, pools, dropout, linear.
template <class T>
struct Model {
  std::vector<std::vector<T>> arrays;
  std::vector<std::size_t> trainable;
  Network<T> network;
  Optimizer<T> optimizer;

  View<T> array(const Shape& shape, bool trained, T value = 0) {
    const std::size_t n = static_cast<std::size_t>(shape.size());
    if (trained) {
      trainable.push_back(arrays.size());
      arrays.push_back(test::values<T>(n, static_cast<int>(arrays.size())));
      for (T& x : arrays.back()) x *= T(0.02);
    } else {
      arrays.emplace_back(n, value);
    }
    return {arrays.back().data(), shape};
  }

  int conv(int x, Index in, Index out, Algorithm algorithm) {
    const View<T> weight = array({out, in, 3, 3}, true), bias = array({out}, true);
    ConvOptions options;
    options.pad_low = options.pad_high = {0, 1, 1};
    options.algorithm = algorithm;
    return network.conv(x, "conv", weight, bias, options);
  }

  Model() {
    arrays.reserve(64);
    int x = network.input();
    x = network.activation(conv(x, 3, 16, Algorithm::direct), "relu", Activation::relu, 0, 0);
    int y = conv(x, 16, 16, Algorithm::winograd);
    const View<T> scale = array({16}, true), shift = array({16}, true);
    y = network.batch_norm(y, "norm", 2, 16, scale, shift, array({16}, false),
                           array({16}, false, 1), {}, T(0.1), T(1e-5));
    x = network.add(x, network.activation(y, "relu", Activation::relu, 0, 0), "add");
    x = network.max_pool(x, "pool", 2, {{1, 2, 2}, {1, 2, 2}, {0, 0, 0}, {1, 1, 1}, false});
    x = network.dropout(network.flatten(x, "flatten"), "dropout", T(0.2));
    const View<T> weight = array({32, 16 * 8 * 8}, true), bias = array({32}, true);
    x = network.activation(network.linear(x, "linear", weight, bias), "tanh", Activation::tanh, 0,
                           0);
    const View<T> last = array({classes, 32}, true);
    network.output(network.linear(x, "last", last, {}));
    const std::size_t n = trainable.size();
    optimizer.options.resize(n);
    for (Hyperparameters& h : optimizer.options)
      h.lr = 0.01, h.momentum = 0.9, h.weight_decay = 1e-4;
    for (std::size_t i = 0; i < n; ++i)
      optimizer.states.push_back({array({static_cast<Index>(arrays[trainable[i]].size())}, false)});
  }
};

template <class T>
struct Data {
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels, order;
  std::vector<T> out = std::vector<T>(samples * classes);
  const Shape shape{samples, 3, 16, 16};

  Data() {
    for (Index i = 0; i < shape.size(); ++i)
      images.push_back(static_cast<std::uint8_t>(i * 89 % 251));
    for (Index i = 0; i < 40 * samples; ++i) order.push_back(i * 7 % samples);
    for (Index i = 0; i < samples; ++i) labels.push_back(i % classes);
  }
  Input input() const { return {images.data(), shape}; }
  Target<T> target() const { return {{labels.data(), {samples}}, {}, {}}; }
};

/// Allocations of a call that takes so many steps of the batch size.
template <class T>
long calls_of(Model<T>& model, const Data<T>& data, Index batch_size, Index steps) {
  Progress progress;
  const Loss<T> loss;
  const long before = calls;
  model.network.train(data.input(), data.target(), {data.order.data(), {batch_size * steps}},
                      batch_size, 0, 1e9, loss, model.optimizer, 3, 0, progress);
  const long after = calls;
  EXPECT(!progress.diverged && progress.batches == steps);
  return after - before;
}

template <class T>
void test_steps_allocate_nothing(int threads) {
  set_num_threads(threads);
  const Data<T> data;
  Model<T> model;
  for (const Index batch_size : {samples, Index{13}, Index{2}}) {
    calls_of(model, data, batch_size, 3);
    const long few = calls_of(model, data, batch_size, 2);
    EXPECT(calls_of(model, data, batch_size, 30) == few);
    EXPECT(few < 20);  // a call's own: shapes checked once
  }
}

template <class T>
void test_prediction_allocates_nothing_by_batch() {
  const Data<T> data;
  Model<T> model;
  const View<T> out{const_cast<T*>(data.out.data()), {samples, classes}};
  model.network.predict(data.input(), out);
  const long before = calls;
  model.network.predict(data.input(), out);
  EXPECT(calls - before < 20);
}

template <class T>
void test_the_arena_is_what_the_plan_said(int threads) {
  set_num_threads(threads);
  const Data<T> data;
  Model<T> model;
  const PlanTable table = model.network.table(PlanMode::train, samples, {3, 16, 16});
  const double said = static_cast<double>(table.arena_bytes + threads * table.worker_bytes);
  const std::size_t before = bytes;
  calls_of(model, data, samples, 1);
  const double got = static_cast<double>(bytes - before);
  std::printf("%d threads: the plan says %.0f bytes, the first step allocates %.0f\n", threads,
              said, got);
  EXPECT(got >= said && got < 1.1 * said);
}

}  // namespace
}  // namespace piste

int main() {
  for (const int threads : {1, 2, 4}) {
    piste::test_steps_allocate_nothing<float>(threads);
    piste::test_steps_allocate_nothing<double>(threads);
    piste::test_the_arena_is_what_the_plan_said<float>(threads);
    piste::test_the_arena_is_what_the_plan_said<double>(threads);
  }
  piste::test_prediction_allocates_nothing_by_batch<float>();
  return piste::test::failures != 0;
}

#else

int main() {
  std::puts("skipped: this allocator cannot be counted");
  return 77;
}

#endif
