// Plans on demand, kept in a bounded cache.

#include <algorithm>
#include <utility>

#include "engine/network_impl.h"

namespace piste {
namespace {

constexpr std::size_t max_plans = 8;

}  // namespace

template <class T>
std::unique_ptr<typename Network<T>::PlanEntry> Network<T>::make_plan(PlanMode mode, Index batch,
                                                                      const Shape& sample_shape) {
  check(!nodes_.empty(), "network", "the network has no layers");
  auto entry = std::make_unique<PlanEntry>(
      PlanEntry{mode, batch, sample_shape, default_algorithm(), {mode, batch}});
  Graph<T> graph{nodes_, {}, output_};
  for (Parameter& p : parameters_) graph.trainables.push_back({p.value, p.gradient.data()});
  lower(graph, sample_shape, entry->plan);
  return entry;
}

template <class T>
PlanTable Network<T>::table(PlanMode mode, Index batch, const Shape& sample_shape,
                            const Optimizer<T>* optimizer, const Augmentation<T>* augmentation) {
  check(batch >= 1, "plan", "batch size ", batch, " is below 1");
  if (optimizer && mode == PlanMode::train && batch == 1)
    if (const Node* layer = only_linear(sample_shape, *optimizer, augmentation))
      return linear_table(*layer);
  if (mode == PlanMode::predict) batch = std::min(batch, predict_batch);
  return make_plan(mode, batch, sample_shape)->plan.table();
}

template <class T>
Plan<T>& Network<T>::plan(PlanMode mode, Index batch, const Shape& sample_shape) {
  const Algorithm algorithm = default_algorithm();
  for (auto entry = plans_.begin(); entry != plans_.end(); ++entry)
    if ((*entry)->mode == mode && (*entry)->batch == batch &&
        (*entry)->sample_shape == sample_shape && (*entry)->algorithm == algorithm) {
      std::rotate(entry, entry + 1, plans_.end());  // the most recent stands last
      return plans_.back()->plan;
    }
  auto entry = make_plan(mode, batch, sample_shape);
  if (plans_.size() >= max_plans) {
    if (manual_ == &plans_.front()->plan) manual_ = nullptr;
    plans_.erase(plans_.begin());
  }
  plans_.push_back(std::move(entry));
  return plans_.back()->plan;
}

template class Network<float>;
template class Network<double>;

}  // namespace piste
