#include <algorithm>
#include <vector>

#include "engine/weighted_op.h"
#include "ops/matmul.h"

namespace piste {
namespace {

// Weights beyond this size are read once for the whole batch, each task taking a block of the
// product; smaller ones stay in the cache while samples pass chunk by chunk.
constexpr Index wide_bytes = 192 << 10;

/// What is done for a product, one after another; the tasks of one stage are independent.
enum class Stage { pack, run, finish };
constexpr Stage stages[] = {Stage::pack, Stage::run, Stage::finish};

template <class T>
Index tasks_of(const Matmul<T>& product, Stage stage) {
  if (stage == Stage::pack) return product.pack_tasks();
  return stage == Stage::run ? product.tasks() : product.finish_tasks();
}

template <class T>
void run_task(const Matmul<T>& product, Stage stage, Index task, T* memory, T* scratch) {
  if (stage == Stage::pack) return product.pack(task, memory);
  if (stage == Stage::run) return product.run(task, memory, scratch);
  product.finish(memory);
}

/// Linear layer with bias and ReLU. Its products take rows of features in the weight's own order,
/// (channel, pixel); maps of several pixels are brought into it first. The weight gradient is
/// computed after the backward pass, over the whole batch at once: no partial sums, whatever the
/// number of weights.
template <class T>
class LinearOp final : public WeightedOp<T> {
 public:
  LinearOp(Plan<T>& plan, const Site<T>& site)
      : WeightedOp<T>(site),
        wide_(weight_.value.size() * Index(sizeof(T)) > wide_bytes),
        reorders_(!x_.is_row()),
        batch_(plan.batch()),
        rows_{x_.tensor, x_.sample_values()} {
    if (reorders_) rows_ = {plan.tensor(features()), features()};
    if (!wide_ || reorders_) forward_.push_back({});
    const Matmul<T> product(forward_product(nullptr, nullptr, batch_));
    if (wide_) add_stages(product, forward_);
    memory_ = plan.fixed_tensor(wide_ ? product.memory_size() : 0);
    this->use_forward(x_.tensor);
    for (int phase = 0; phase < forward_phases(false); ++phase) {
      this->use_forward(rows_.tensor, phase);
      this->use_forward(y_.tensor, phase);
    }
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_ends(plan, dy, dx[0]);
    drows_ = {dx_, x_.sample_values()};
    if (reorders_ && dx_ >= 0) drows_ = {plan.tensor(features()), features()};
    const Matmul<T> by_input(input_product(nullptr, nullptr, batch_));
    const Matmul<T> by_weight(weight_product(nullptr, nullptr));
    backward_.push_back({});
    if (wide_ && dx_ >= 0) {
      add_stages(by_input, backward_);
      if (reorders_) backward_.push_back({});
      backward_memory_ = plan.fixed_tensor(by_input.memory_size());
    }
    add_stages(by_weight, finish_);
    if (finish_.empty()) finish_.push_back({});
    finish_memory_ = plan.fixed_tensor(by_weight.memory_size());
    for (int phase = 1; phase < backward_phases(true); ++phase)
      for (int tensor : {gradient_.tensor(), drows_.tensor, dx_}) this->use_backward(tensor, phase);
    for (int tensor : {drows_.tensor, dx_}) this->use_backward(tensor);
    plan.keep(rows_.tensor);
    plan.keep(gradient_.tensor());
  }

  int forward_phases(bool) const override { return static_cast<int>(forward_.size()); }
  int backward_phases(bool) const override { return static_cast<int>(backward_.size()); }
  Index wide_tasks(bool backward, int phase) const override {
    return (backward ? backward_ : forward_)[phase].tasks;
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* rows = memory.at(x_.tensor, chunk);
    if (reorders_) {
      T* to = memory.at(rows_.tensor, chunk);
      for (Index i = 0; i < chunk.count(); ++i)
        unpack_sample(rows + i * x_.sample_values(), x_, to + i * features());
      rows = to;
    }
    if (wide_) return;
    T* y = memory.at(y_.tensor, chunk);
    multiply(forward_product(rows, y, chunk.count()), memory.worker_scratch(chunk));
    clear_padding(y, y_.width, outputs(), 0, chunk.count());
  }

  void forward_wide(const Run<T>&, const Memory<T>& memory, int phase, Index task,
                    void* scratch) override {
    T* y = memory.fixed(y_.tensor);
    const Matmul<T> product(forward_product(memory.fixed(rows_.tensor), y, batch_));
    run_wide(product, forward_[phase].stage, task, memory.fixed(memory_), scratch, y, y_.width);
  }

  void backward(int phase, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* dy = phase == 0 ? this->gradient_.read(memory, chunk) : nullptr;
    if (dx_ < 0) return;
    T* rows = memory.at(drows_.tensor, chunk);
    if (!wide_) {
      multiply(input_product(dy, rows, chunk.count()), memory.worker_scratch(chunk));
      clear_padding(rows, drows_.width, features(), 0, chunk.count());
    }
    if (!reorders_ || phase + 1 < backward_phases(true)) return;
    T* dx = memory.at(dx_, chunk);
    for (Index i = 0; i < chunk.count(); ++i)
      pack_sample(rows + i * features(), x_, dx + i * x_.sample_values());
  }

  void backward_wide(const Run<T>&, const Memory<T>& memory, int phase, Index task,
                     void* scratch) override {
    T* rows = memory.fixed(drows_.tensor);
    const Matmul<T> product(input_product(memory.fixed(gradient_.tensor()), rows, batch_));
    run_wide(product, backward_[phase].stage, task, memory.fixed(backward_memory_), scratch, rows,
             drows_.width);
  }

  // The first phase's last task is the bias.
  Index finish_tasks(int phase) const override {
    if (phase >= static_cast<int>(finish_.size())) return 0;
    return finish_[phase].tasks + (phase == 0 && bias_.value ? 1 : 0);
  }

  void finish(const Memory<T>& memory, Index, int phase, Index task, void* scratch) override {
    const T* dy = memory.fixed(gradient_.tensor());
    if (task == finish_[phase].tasks)
      return kernel_table<T>().gemm->column_sums(dy, batch_, y_.width, bias_.gradient, outputs(),
                                                 false);
    run_task(Matmul<T>(weight_product(memory.fixed(rows_.tensor), dy)), finish_[phase].stage, task,
             memory.fixed(finish_memory_), static_cast<T*>(scratch));
  }

  // Weights read once for the whole batch, or kept in the cache while samples pass.
  const char* algorithm() const override { return wide_ ? "by weights" : "by samples"; }

  Index scratch_bytes(Index chunk) const override {
    Index values = 0;
    const auto count = [&](const Matmul<T>& product, bool shared) {
      values = std::max(values, product.scratch_size() + (shared ? 0 : product.memory_size()));
    };
    if (this->linked()) count(Matmul<T>(weight_product(nullptr, nullptr)), true);
    for (Index n = wide_ ? batch_ : 1; n <= (wide_ ? batch_ : chunk); ++n) {
      const Index wanted = wide_ ? 0 : 1;
      count(Matmul<T>(forward_product(nullptr, nullptr, n), wanted), wide_);
      if (dx_ >= 0) count(Matmul<T>(input_product(nullptr, nullptr, n), wanted), wide_);
    }
    return values * static_cast<Index>(sizeof(T));
  }

 private:
  struct Rows {
    int tensor;
    Index width;
  };
  struct Phase {
    Stage stage;
    Index tasks;  // 0: chunk by chunk
  };

  Index features() const { return x_.shape.features(); }
  Index outputs() const { return y_.shape.channels; }

  static void add_stages(const Matmul<T>& product, std::vector<Phase>& phases) {
    for (Stage stage : stages)
      if (const Index tasks = tasks_of(product, stage)) phases.push_back({stage, tasks});
  }

  Product<T> forward_product(const T* rows, T* y, Index n) const {
    return {n,
            outputs(),
            features(),
            {rows, rows_.width},
            {weight_.value.data, features(), true},
            {y, y_.width},
            bias_.value.data,
            false,
            this->relu_};
  }
  Product<T> input_product(const T* dy, T* rows, Index n) const {
    return {n,
            features(),
            outputs(),
            {dy, y_.width},
            {weight_.value.data, features()},
            {rows, drows_.width}};
  }
  Product<T> weight_product(const T* rows, const T* dy) const {
    return {outputs(),
            features(),
            batch_,
            {dy, y_.width, true},
            {rows, rows_.width},
            {weight_.gradient, features()}};
  }

  /// The whole product for a chunk of samples.
  static void multiply(const Product<T>& p, void* scratch) {
    const Matmul<T> product(p, 1);
    T* const memory = static_cast<T*>(scratch);
    for (Stage stage : stages)
      for (Index task = 0; task < tasks_of(product, stage); ++task)
        run_task(product, stage, task, memory, memory + product.memory_size());
  }

  /// One task, and the padding of the rows that it ends.
  static void run_wide(const Matmul<T>& product, Stage stage, Index task, T* memory, void* scratch,
                       T* out, Index width) {
    run_task(product, stage, task, memory, static_cast<T*>(scratch));
    if (stage != Stage::run) return;
    const auto block = product.block(task);
    const Index end = block.column + block.columns;
    if (end == product.columns()) clear_padding(out, width, end, block.row, block.rows);
  }

  static void clear_padding(T* rows, Index width, Index columns, Index first, Index n) {
    if (columns == width) return;
    for (Index i = first; i < first + n; ++i)
      std::fill(rows + i * width + columns, rows + (i + 1) * width, T(0));
  }

  using WeightedOp<T>::x_, WeightedOp<T>::y_, WeightedOp<T>::weight_, WeightedOp<T>::bias_,
      WeightedOp<T>::dx_, WeightedOp<T>::gradient_;
  bool wide_, reorders_;
  Index batch_;
  Rows rows_, drows_{-1, 0};
  std::vector<Phase> forward_, backward_, finish_;
  int memory_, backward_memory_ = -1, finish_memory_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_linear(Plan<T>& plan, const Site<T>& site) {
  return std::make_unique<LinearOp<T>>(plan, site);
}

template OpPtr<float> make_linear(Plan<float>&, const Site<float>&);
template OpPtr<double> make_linear(Plan<double>&, const Site<double>&);

}  // namespace piste
