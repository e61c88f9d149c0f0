#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "piste/optimizer.h"

namespace piste {

/// What a step changed that may have gone too far: its weights are finite, but whether they are
/// of any use only the next loss tells.
template <class T>
class Undo {
 public:
  typename Optimizer<T>::Counters counters;  // before the last update
  Index steps = 0;                           // it and those since, which would be taken back

  void clear() { arrays_.clear(); }
  bool empty() const { return arrays_.empty(); }

  /// Before the step changes an array.
  void remember(T* data, Index n) {
    if (data && n > 0) arrays_.push_back({data, {data, data + n}, {}});
  }

  /// When the step has changed them all.
  void step_done() {
    for (Array& a : arrays_) a.after.assign(a.data, a.data + a.before.size());
  }

  /// Takes the step back, unless somebody has changed an array since; whether it did.
  bool run() {
    const bool untouched = std::all_of(arrays_.begin(), arrays_.end(), [](const Array& a) {
      return std::memcmp(a.data, a.after.data(), a.before.size() * sizeof(T)) == 0;
    });
    const bool undone = untouched && !arrays_.empty();
    if (undone)
      for (const Array& a : arrays_) std::copy(a.before.begin(), a.before.end(), a.data);
    clear();
    return undone;
  }

 private:
  struct Array {
    T* data;
    std::vector<T> before, after;
  };
  std::vector<Array> arrays_;
};

template <class T>
Undo<T>& undo_of(Optimizer<T>& optimizer) {
  if (!optimizer.undo) optimizer.undo = std::make_shared<Undo<T>>();
  return *optimizer.undo;
}

}  // namespace piste
