#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "base/parallel.h"
#include "dispatch/dispatch.h"
#include "engine/op.h"
#include "piste/plan_table.h"
#include "piste/threads.h"

namespace piste {

/// A network lowered for one batch size and sample shape: a flat list of steps over one arena.
///
/// The steps are cut into segments. Inside a segment each chunk of samples goes through all of
/// its steps before the next chunk starts, so that what lives only there stays in the cache.
template <class T>
class Plan {
 public:
  Plan(PlanMode mode, Index batch);

  /// A tensor of `sample_values` values per sample, or of `fixed_values` for the whole plan.
  int tensor(Index sample_values) { return add_tensor(sample_values * Index(sizeof(T)), 0); }
  int fixed_tensor(Index values) { return add_tensor(0, values * Index(sizeof(T))); }
  int index_tensor(Index sample_values) { return add_tensor(sample_values * 4, 0); }

  /// Whether one op alone reads the tensor from here on, and may write over it.
  void set_spare(int tensor, bool spare) { tensors_[tensor].spare = spare; }
  bool is_spare(int tensor) const { return tensor >= 0 && tensors_[tensor].spare; }

  /// The input's tensor, whose readers take rows of features as the user holds them: batches that
  /// lie together in the user's memory are read there.
  void set_borrowing(int input) { borrowing_ = input; }

  /// The tensor lives until finish() has run, for all samples.
  void keep(int tensor) { tensors_[tensor].kept = true; }

  T* fixed(int tensor) const { return memory_.fixed(tensor); }

  Op<T>* add(std::unique_ptr<Op<T>> op);
  void schedule_forward(Op<T>* op, bool training);
  void schedule_backward(Op<T>* op, bool training);
  void end_of_forward() { forward_steps_ = steps_.size(); }

  /// Groups whose partial sums are kept apart; fixed by mode, batch and parameter count.
  Index groups() const { return groups_; }
  void limit_groups(Index most);

  /// What its steps run on; set before anything is added.
  void use(Vectors vectors) { vectors_ = vectors; }

  /// Places all tensors; nothing may be added afterwards.
  void seal();

  PlanTable table() const;

  void prepare();  // allocates when called first
  void run_forward(const Run<T>& run);
  void run_backward(const Run<T>& run);
  void finish();
  void commit();

  PlanMode mode() const { return mode_; }
  Index batch() const { return batch_; }

  /// Threads that its steps should use: with little work, waiting for others takes longer.
  int threads() const { return shares_work() ? num_threads() : 1; }

  /// Filled by the loss: one sum per group.
  std::vector<double> loss_sums, correct_sums;

 private:
  struct Step {
    Op<T>* op;
    bool backward;
    int phase;
  };
  using TaskList = std::vector<std::pair<Op<T>*, Index>>;
  struct Segment {
    std::size_t begin, end;  // steps
    bool sync;               // the last step's op has a further phase
    Index wide_tasks;        // of its only step, where that has some
  };

  // By measurement of small networks on two cores: flops, and each byte of the parameters that a
  // pass reads counts as so many.
  static constexpr double work_of_threads = 8e6, parameter_byte_work = 10;

  bool shares_work() const { return work_ >= work_of_threads; }
  double total_work() const;
  void allocate();
  int add_tensor(Index sample_bytes, Index batch_bytes);
  void cut_segments();
  void find_lifetimes();
  void choose_chunk();
  Index place(bool local, Index chunk);
  Index wide_tasks(std::size_t step) const;
  void run_segments(std::size_t begin, std::size_t end, const Run<T>& run);
  void run_group(const Segment& segment, const Run<T>& run, Index group, int worker);
  /// Where a worker adds up its seconds in a step; null where nobody asks for them.
  double* seconds_of(std::size_t step, int worker) {
    return seconds_.empty() ? nullptr : &seconds_[worker * steps_.size() + step];
  }
  void add_seconds(StepTimes& times) const;

  /// parallel_for with the kernels of the plan's vectors in every task.
  void for_tasks(Index tasks, TaskRef body, Watch* watch = nullptr) const;

  PlanMode mode_;
  Vectors vectors_ = Vectors::whole;
  Index batch_, groups_, chunk_ = 1, arena_bytes_ = 0;
  int workers_ = 0;
  double work_ = 0;  // of a step
  int borrowing_ = -1;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<Op<T>>> ops_;
  std::vector<Step> steps_;
  std::vector<Segment> segments_;
  TaskList prepare_tasks_;
  std::array<TaskList, Op<T>::max_finish_phases> finish_tasks_;
  std::size_t forward_steps_ = 0, forward_segments_ = 0;
  Index local_bytes_ = 0, scratch_bytes_ = 0;
  AlignedBytes arena_, worker_arena_;
  Memory<T> memory_;
  std::vector<double> seconds_;  // of each worker's steps, in the run under way
};

extern template class Plan<float>;
extern template class Plan<double>;

}  // namespace piste
