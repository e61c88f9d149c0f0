#pragma once

#include <cstdint>
#include <vector>

#include "base/watch.h"
#include "engine/node.h"
#include "piste/network.h"
#include "piste/plan_table.h"

namespace piste {

/// What a tensor of a plan holds per sample, and where it lies. A local tensor lives only inside
/// one segment: each worker has room for one chunk of it, so that it stays in the cache.
struct Tensor {
  Index sample_bytes = 0;
  Index batch_bytes = 0;  // instead, where its size does not depend on samples
  int first_step = -1, last_step = -1;
  bool local = false;
  bool kept = false;   // until finish() has run
  bool spare = false;  // whoever reads it next is the last, and may write over it
  Index offset = 0;
};

/// Samples [begin, end) of the batch, worked on by `worker` as part of `group`. The groups and
/// chunks of a plan depend on its shapes only: sums over samples are kept per group.
struct Chunk {
  Index begin, end;
  int worker;
  Index group;
  bool first_of_group;
  Index count() const { return end - begin; }
};

/// What changes from step to step.
template <class T>
struct Run {
  bool training = false;
  std::uint64_t seed = 0;
  Index step = 0;
  Input x;
  const std::int64_t* order = nullptr;  // sample i of the batch is order[i] of x; null: i
  T input_scale = 1, input_shift = 0;
  const Augmentation<T>* augmentation = nullptr;
  Target<T> y;
  const Loss<T>* loss = nullptr;
  T loss_scale = 1;  // what a sample's gradient is multiplied by: 1 / normaliser for a mean
  T* out = nullptr;
  const T* grad_output = nullptr;
  T* grad_input = nullptr;
  Watch* watch = nullptr;      // of the call under way
  StepTimes* times = nullptr;  // null where nobody asks where the time goes
};

/// Resolves tensors to memory for one chunk.
template <class T>
struct Memory {
  std::byte* arena = nullptr;
  std::byte* local_arena = nullptr;
  Index local_stride = 0;  // bytes from worker to worker
  const Tensor* tensors = nullptr;
  Index batch = 0;
  std::byte* scratch = nullptr;
  Index scratch_stride = 0;
  int borrowed = -1;                 // the input's tensor, where the user's memory serves for it,
  std::byte* borrowed_at = nullptr;  // which nobody writes to

  /// First of the chunk's samples.
  template <class U = T>
  U* at(int tensor, const Chunk& chunk) const {
    const Tensor& t = tensors[tensor];
    if (t.local && tensor != borrowed)
      return reinterpret_cast<U*>(local_arena + chunk.worker * local_stride + t.offset);
    return fixed<U>(tensor) + chunk.begin * (t.sample_bytes / Index(sizeof(U)));
  }
  /// A tensor of fixed size, or all samples of one that is not local.
  template <class U = T>
  U* fixed(int tensor) const {
    return reinterpret_cast<U*>(tensor == borrowed ? borrowed_at : arena + tensors[tensor].offset);
  }
  void* worker_scratch(int worker) const { return scratch + worker * scratch_stride; }
  void* worker_scratch(const Chunk& chunk) const { return worker_scratch(chunk.worker); }
};

/// What a plan's table says of an op; the lowering fills it in.
struct OpInfo {
  std::string layer, kernel;
  Shape input, output;
  double forward_flops = 0, backward_flops = 0;  // of one sample
  Index parameter_bytes = 0;
};

/// One lowered layer. Phases after the first begin only when all chunks have ended the one
/// before and its sync has run (batch statistics need that).
template <class T>
class Op {
 public:
  virtual ~Op() = default;

  /// Names the gradient of the output (read) and of each input (written; -1: not wanted). Ops
  /// that are not linked have no backward pass.
  virtual void link(Plan<T>&, int /*dy*/, const std::vector<int>& /*dx*/) {}
  /// Before link(): names a second gradient of the output, to be added to the first as it is read.
  /// False: the op doesn't add.
  virtual bool link_second(int /*dy*/) { return false; }
  /// The gradient that an op which ends in an addition leaves for the terms that it adds.
  virtual int passed_on() const { return -1; }

  virtual void prepare(const Memory<T>&, Index /*task*/) {}  // once a step: weight packing
  virtual Index prepare_tasks() const { return 0; }

  virtual int forward_phases(bool /*training*/) const { return 1; }
  virtual void forward(int phase, const Run<T>&, const Memory<T>&, const Chunk&) = 0;
  virtual void forward_sync(int /*phase*/, const Run<T>&, const Memory<T>&, Index /*groups*/) {}

  virtual int backward_phases(bool /*training*/) const { return 1; }
  virtual void backward(int phase, const Run<T>&, const Memory<T>&, const Chunk&) = 0;
  virtual void backward_sync(int /*phase*/, const Run<T>&, const Memory<T>&, Index /*groups*/) {}

  /// A phase with wide tasks runs them once for the whole batch, in parallel, in place of the
  /// phase's calls for chunks: weights too large for the cache are read once then.
  virtual Index wide_tasks(bool /*backward*/, int /*phase*/) const { return 0; }
  virtual void forward_wide(const Run<T>&, const Memory<T>&, int /*phase*/, Index /*task*/,
                            void* /*scratch*/) {}
  virtual void backward_wide(const Run<T>&, const Memory<T>&, int /*phase*/, Index /*task*/,
                             void* /*scratch*/) {}

  /// After the whole backward pass: sums over groups to the parameters' gradients. A phase begins
  /// when all ops have ended the one before.
  static constexpr int max_finish_phases = 3;
  virtual Index finish_tasks(int /*phase*/) const { return 0; }
  virtual void finish(const Memory<T>&, Index /*groups*/, int /*phase*/, Index /*task*/,
                      void* /*scratch*/) {}
  /// Once the step is known to be sound: what else it changes (running statistics).
  virtual void commit(const Memory<T>&) {}

  /// Before the first run: makes what else the op keeps, and how many bytes that takes.
  virtual void lay_out() {}
  virtual Index layout_bytes() const { return 0; }

  /// Memory of each worker, for chunks of at most so many samples.
  virtual Index scratch_bytes(Index /*chunk*/) const { return 0; }
  /// Named where a kind of layer has several.
  virtual const char* algorithm() const { return ""; }

  OpInfo info;

  struct Use {
    bool backward;
    int phase, tensor;
  };
  const std::vector<Use>& uses() const { return uses_; }

 protected:
  /// Declares that a phase reads or writes a tensor: from its first use to its last it is kept.
  void use_forward(int tensor, int phase = 0) { uses_.push_back({false, phase, tensor}); }
  void use_backward(int tensor, int phase = 0) {
    if (tensor >= 0) uses_.push_back({true, phase, tensor});
  }

 private:
  std::vector<Use> uses_;
};

}  // namespace piste
