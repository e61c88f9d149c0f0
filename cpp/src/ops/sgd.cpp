#include "piste/sgd.h"

#include <algorithm>

#include "dispatch/dispatch.h"
#include "ops/elementwise.h"

namespace piste {

template <class T>
void sgd(const std::vector<SgdArrays<T>>& arrays, const SgdHyperparameters<T>& o) {
  check(!o.nesterov || (o.momentum > 0 && o.dampening == 0), "sgd",
        "nesterov needs a momentum above 0 and no dampening");
  std::vector<Index> ends;  // of each array, were they laid end to end
  Index total = 0;
  for (const SgdArrays<T>& a : arrays) {
    check_same_shape("sgd", "grad", a.grad, "param", a.param);
    if (o.momentum != 0) check_same_shape("sgd", "buffer", a.buffer, "param", a.param);
    ends.push_back(total += a.param.size());
  }
  const auto& step = kernel_table<T>().update->step[static_cast<int>(UpdateRule::sgd)];
  for_each_part(total, [&](Index begin, Index n) {
    // The part may end one array, hold some whole ones and begin another.
    const Index end = begin + n;
    std::size_t i = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
    UpdateOptions<T> options;
    options.lr = o.lr;
    options.momentum = o.momentum;
    options.dampening = o.dampening;
    options.weight_decay = o.weight_decay;
    options.nesterov = o.nesterov;
    options.maximize = o.maximize;
    while (begin < end) {
      const SgdArrays<T>& a = arrays[i];
      const Index at = begin - (ends[i] - a.param.size()), count = std::min(end, ends[i]) - begin;
      T* const buffer = a.buffer ? a.buffer.data + at : nullptr;
      options.first_step = a.new_buffer;
      step(a.param.data + at, a.grad.data + at, &buffer, count, options);
      begin += count;
      ++i;
    }
  });
}

template void sgd(const std::vector<SgdArrays<float>>&, const SgdHyperparameters<float>&);
template void sgd(const std::vector<SgdArrays<double>>&, const SgdHyperparameters<double>&);

}  // namespace piste
