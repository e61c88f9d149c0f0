#include "engine/plan.h"

#include <algorithm>
#include <utility>

#include "engine/lap.h"
#include "engine/sample_reader.h"
#include "piste/errors.h"

namespace piste {
namespace {

// A chunk's local tensors should stay in a core's share of L2 and L3; more samples per chunk mean
// fuller register tiles in the last layers.
constexpr Index chunk_bytes = Index{1} << 20;
constexpr Index training_groups = 8;
// Where threads share a prediction, it has several chunks, but none of fewer samples: each packs
// the weights of the last layers anew.
constexpr Index predict_chunks = 8, least_chunk = 16;

struct Interval {
  int tensor;
  Index bytes;
  int first, last;
};

/// Offsets by first fit, largest first, among tensors whose lifetimes overlap; returns the total.
Index first_fit(std::vector<Interval> intervals, std::vector<Tensor>& tensors) {
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) {
    return std::pair(-a.bytes, a.tensor) < std::pair(-b.bytes, b.tensor);
  });
  std::vector<Interval> placed;
  Index total = 0;
  for (const Interval& item : intervals) {
    std::vector<std::pair<Index, Index>> taken;  // [begin, end) in memory
    for (const Interval& other : placed)
      if (other.first <= item.last && item.first <= other.last)
        taken.emplace_back(tensors[other.tensor].offset,
                           tensors[other.tensor].offset + other.bytes);
    std::sort(taken.begin(), taken.end());
    Index offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + item.bytes <= begin) break;
      offset = std::max(offset, end);
    }
    tensors[item.tensor].offset = offset;
    total = std::max(total, offset + item.bytes);
    placed.push_back(item);
  }
  return total;
}

Index padded(Index bytes) {
  // A further line keeps tensors from lying at the same distance modulo 4 KiB.
  return static_cast<Index>(round_up(static_cast<std::size_t>(bytes), alignment)) + 64;
}

}  // namespace

template <class T>
Plan<T>::Plan(PlanMode mode, Index batch)
    : mode_(mode),
      batch_(batch),
      groups_(std::min(
          batch, mode == PlanMode::train || mode == PlanMode::manual ? training_groups : batch)) {}

template <class T>
int Plan<T>::add_tensor(Index sample_bytes, Index batch_bytes) {
  Tensor t;
  t.sample_bytes = sample_bytes;
  t.batch_bytes = batch_bytes;
  tensors_.push_back(t);
  return static_cast<int>(tensors_.size()) - 1;
}

template <class T>
Op<T>* Plan<T>::add(std::unique_ptr<Op<T>> op) {
  ops_.push_back(std::move(op));
  return ops_.back().get();
}

template <class T>
void Plan<T>::schedule_forward(Op<T>* op, bool training) {
  for (int phase = 0; phase < op->forward_phases(training); ++phase)
    steps_.push_back({op, false, phase});
}

template <class T>
void Plan<T>::schedule_backward(Op<T>* op, bool training) {
  for (int phase = 0; phase < op->backward_phases(training); ++phase)
    steps_.push_back({op, true, phase});
}

template <class T>
void Plan<T>::limit_groups(Index most) {
  groups_ = std::min(groups_, std::max<Index>(most, 1));
}

template <class T>
Index Plan<T>::wide_tasks(std::size_t step) const {
  const Step& s = steps_[step];
  return s.op->wide_tasks(s.backward, s.phase);
}

template <class T>
void Plan<T>::cut_segments() {
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= steps_.size(); ++i) {
    const bool end = i == steps_.size();
    const bool new_phase = !end && steps_[i].phase > 0;
    const bool call_ends = mode_ == PlanMode::manual && i == forward_steps_;
    const bool wide = wide_tasks(i - 1) > 0 || (!end && wide_tasks(i) > 0);
    if (!end && !new_phase && !call_ends && !wide) continue;
    segments_.push_back({begin, i, new_phase, wide_tasks(begin)});
    begin = i;
    if (i == forward_steps_) forward_segments_ = segments_.size();
  }
  if (forward_segments_ == 0) forward_segments_ = segments_.size();
}

template <class T>
void Plan<T>::find_lifetimes() {
  for (std::size_t i = 0; i < steps_.size(); ++i)
    for (const auto& use : steps_[i].op->uses()) {
      if (use.backward != steps_[i].backward || use.phase != steps_[i].phase) continue;
      Tensor& t = tensors_[use.tensor];
      if (t.first_step < 0) t.first_step = static_cast<int>(i);
      t.last_step = static_cast<int>(i);
    }
  auto segment_of = [&](int step) -> const Segment& {
    auto s = segments_.begin();
    while (s->end <= static_cast<std::size_t>(step)) ++s;
    return *s;
  };
  for (Tensor& t : tensors_) {
    if (!t.sample_bytes || t.first_step < 0) continue;
    const Segment &first = segment_of(t.first_step), &last = segment_of(t.last_step);
    t.local = &first == &last && !first.wide_tasks && !t.kept;
    if (t.local) continue;
    // One chunk writes while another still reads what an earlier step of the segment wrote.
    t.first_step = static_cast<int>(first.begin);
    t.last_step = static_cast<int>(t.kept ? steps_.size() : last.end - 1);
  }
}

template <class T>
Index Plan<T>::place(bool local, Index chunk) {
  constexpr Index most_bytes = Index{1} << 47;  // what 64-bit machines can address
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& t = tensors_[i];
    const bool fixed = t.sample_bytes == 0;
    if (!fixed && t.first_step < 0) continue;  // never used in this mode
    if (local != t.local) continue;
    if (t.sample_bytes > most_bytes / batch_)
      throw OutOfMemory(double(t.sample_bytes) * double(batch_), "a batch's map");
    const Index bytes = fixed ? t.batch_bytes : t.sample_bytes * (local ? chunk : batch_);
    intervals.push_back({static_cast<int>(i), padded(bytes), fixed ? 0 : t.first_step,
                         fixed ? static_cast<int>(steps_.size()) : t.last_step});
  }
  return first_fit(std::move(intervals), tensors_);
}

template <class T>
void Plan<T>::choose_chunk() {
  const Index per_sample = std::max<Index>(place(true, 1), 1);
  const bool training = mode_ == PlanMode::train || mode_ == PlanMode::manual;
  Index most = training ? (batch_ + groups_ - 1) / groups_ : batch_;
  if (!training && shares_work())
    most = std::min(batch_, std::max((batch_ + predict_chunks - 1) / predict_chunks, least_chunk));
  most = std::max<Index>(most, 1);
  chunk_ = std::clamp<Index>(chunk_bytes / per_sample, 1, most);
  if (training) chunk_ = Split(most, chunk_).end(0);  // as even as can be: 4 and 4, not 7 and 1
  if (!training) groups_ = std::min(groups_, (batch_ + chunk_ - 1) / chunk_);
}

template <class T>
void Plan<T>::seal() {
  work_ = total_work();
  cut_segments();
  find_lifetimes();
  choose_chunk();
  local_bytes_ = static_cast<Index>(round_up(place(true, chunk_), 4096));
  arena_bytes_ = place(false, chunk_);
  for (const auto& op : ops_) {
    scratch_bytes_ = std::max(scratch_bytes_, op->scratch_bytes(chunk_));
    for (Index task = 0; task < op->prepare_tasks(); ++task)
      prepare_tasks_.emplace_back(op.get(), task);
    for (int phase = 0; phase < Op<T>::max_finish_phases; ++phase)
      for (Index task = 0; task < op->finish_tasks(phase); ++task)
        finish_tasks_[phase].emplace_back(op.get(), task);
  }
  scratch_bytes_ = static_cast<Index>(round_up(scratch_bytes_, 4096));
  loss_sums.assign(groups_, 0);
  correct_sums.assign(groups_, 0);
  memory_.tensors = tensors_.data();
  memory_.batch = batch_;
}

template <class T>
void Plan<T>::allocate() {
  if (!arena_) {
    for (const auto& op : ops_) op->lay_out();
    arena_ = zeroed_bytes(static_cast<std::size_t>(arena_bytes_), "a network's maps");
    memory_.arena = arena_.get();
  }
  const int workers = parallel_workers(max_num_threads);
  if (workers > workers_) {  // more threads than ever before: room for their chunks
    const Index stride = local_bytes_ + scratch_bytes_;
    worker_arena_ = zeroed_bytes(static_cast<std::size_t>(stride * workers), "the threads' maps");
    workers_ = workers;
    memory_.local_arena = worker_arena_.get();
    memory_.local_stride = memory_.scratch_stride = stride;
    memory_.scratch = worker_arena_.get() + local_bytes_;
  }
}

template <class T>
void Plan<T>::for_tasks(Index tasks, TaskRef body, Watch* watch) const {
  parallel_for(
      tasks,
      [&](Index task, int worker) {
        const VectorScope scope(vectors_);
        body(task, worker);
      },
      watch);
}

template <class T>
void Plan<T>::prepare() {
  allocate();
  for_tasks(static_cast<Index>(prepare_tasks_.size()), [&](Index i, int) {
    prepare_tasks_[i].first->prepare(memory_, prepare_tasks_[i].second);
  });
}

template <class T>
void Plan<T>::run_group(const Segment& segment, const Run<T>& run, Index group, int worker) {
  const Index begin = batch_ / groups_ * group + std::min(group, batch_ % groups_);
  const Index end = begin + batch_ / groups_ + (group < batch_ % groups_);
  for (Index first = begin; first < end; first += chunk_) {
    const Chunk chunk{first, std::min(first + chunk_, end), worker, group, first == begin};
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      if (run.watch->stop(worker)) return;
      const Step& step = steps_[i];
      const Lap lap(seconds_of(i, worker));
      if (step.backward)
        step.op->backward(step.phase, run, memory_, chunk);
      else
        step.op->forward(step.phase, run, memory_, chunk);
    }
  }
}

template <class T>
void Plan<T>::run_segments(std::size_t begin, std::size_t end, const Run<T>& run) {
  seconds_.assign(run.times ? workers_ * steps_.size() : 0, 0.0);
  for (std::size_t s = begin; s < end; ++s) {
    const Segment& segment = segments_[s];
    if (segment.wide_tasks) {
      const Step& step = steps_[segment.begin];
      for_tasks(
          segment.wide_tasks,
          [&](Index task, int worker) {
            if (run.watch->stop(worker)) return;
            void* const scratch = memory_.worker_scratch(worker);
            const Lap lap(seconds_of(segment.begin, worker));
            if (step.backward)
              step.op->backward_wide(run, memory_, step.phase, task, scratch);
            else
              step.op->forward_wide(run, memory_, step.phase, task, scratch);
          },
          run.watch);
      continue;
    }
    for_tasks(
        groups_, [&](Index group, int worker) { run_group(segment, run, group, worker); },
        run.watch);
    if (!segment.sync) continue;
    const Step& last = steps_[segment.end - 1];
    const Lap lap(seconds_of(segment.end - 1, 0));
    const VectorScope scope(vectors_);
    if (last.backward)
      last.op->backward_sync(last.phase, run, memory_, groups_);
    else
      last.op->forward_sync(last.phase, run, memory_, groups_);
  }
  if (run.times) add_seconds(*run.times);
}

template <class T>
void Plan<T>::add_seconds(StepTimes& times) const {
  times.steps.resize(steps_.size());
  for (std::size_t i = 0; i < seconds_.size(); ++i) times.steps[i % steps_.size()] += seconds_[i];
}

template <class T>
void Plan<T>::run_forward(const Run<T>& run) {
  memory_.borrowed = -1;
  if (borrowing_ >= 0 && !run.augmentation) {
    const SampleReader<T> reader(run.x, run.input_scale, run.input_shift);
    if (const T* batch = reader.batch(run.order, batch_)) {
      memory_.borrowed = borrowing_;
      memory_.borrowed_at = reinterpret_cast<std::byte*>(const_cast<T*>(batch));
    }
  }
  run_segments(0, mode_ == PlanMode::manual ? forward_segments_ : segments_.size(), run);
}

template <class T>
void Plan<T>::run_backward(const Run<T>& run) {
  run_segments(forward_segments_, segments_.size(), run);
}

template <class T>
void Plan<T>::finish() {
  for (int phase = 0; phase < Op<T>::max_finish_phases; ++phase) {
    const TaskList& tasks = finish_tasks_[phase];
    for_tasks(static_cast<Index>(tasks.size()), [&](Index i, int worker) {
      const auto& [op, task] = tasks[i];
      op->finish(memory_, groups_, phase, task, memory_.worker_scratch(worker));
    });
  }
}

template <class T>
void Plan<T>::commit() {
  const VectorScope scope(vectors_);
  for (const auto& op : ops_) op->commit(memory_);
}

template <class T>
double Plan<T>::total_work() const {
  double work = 0;
  for (const Step& step : steps_) {
    const OpInfo& info = step.op->info;
    work += double(batch_) * (step.backward ? info.backward_flops : info.forward_flops) +
            parameter_byte_work * double(info.parameter_bytes);
  }
  return work;
}

template <class T>
PlanTable Plan<T>::table() const {
  const VectorScope scope(vectors_);
  PlanTable table;
  table.batch = batch_;
  table.isa = kernel_table<T>().isa;
  table.threads = threads();
  table.groups = groups_;
  table.micro_batch = chunk_;
  table.arena_bytes = arena_bytes_;
  for (const auto& op : ops_) table.arena_bytes += op->layout_bytes();
  table.worker_bytes = local_bytes_ + scratch_bytes_;
  for (std::size_t s = 0; s < segments_.size(); ++s)
    for (std::size_t i = segments_[s].begin; i < segments_[s].end; ++i) {
      const auto& [op, backward, phase] = steps_[i];
      PlanStep step;
      step.pass = backward ? "backward" : "forward";
      step.layer = op->info.layer;
      step.kernel = op->info.kernel;
      step.algorithm = op->algorithm();
      step.input = op->info.input;
      step.output = op->info.output;
      step.segment = static_cast<Index>(s);
      for (const auto& use : op->uses())
        if (use.backward == backward && use.phase == phase)
          step.bytes += tensors_[use.tensor].sample_bytes * batch_;
      if (phase == 0) {  // the arithmetic of all phases
        step.bytes += op->info.parameter_bytes * (backward ? 2 : 1);  // and their gradients
        step.flops = double(batch_) * (backward ? op->info.backward_flops : op->info.forward_flops);
      }
      table.steps.push_back(std::move(step));
    }
  return table;
}

template class Plan<float>;
template class Plan<double>;

}  // namespace piste
