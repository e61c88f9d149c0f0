#include <pybind11/stl.h>

#include "arrays.h"
#include "piste/sgd.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
void define(py::module_& module) {
  def_released(
      module, "sgd",
      [](const std::vector<View<T>>& params, const std::vector<View<const T>>& grads,
         const std::vector<View<T>>& buffers, const std::vector<bool>& new_buffers, T lr,
         T momentum, T dampening, T weight_decay, bool nesterov, bool maximize) {
        const std::size_t n = params.size();
        check(grads.size() == n && buffers.size() == n && new_buffers.size() == n, "sgd",
              "expected ", n, " entries in every list");
        std::vector<SgdArrays<T>> arrays;
        for (std::size_t i = 0; i < n; ++i)
          arrays.push_back({params[i], grads[i], buffers[i], new_buffers[i]});
        sgd<T>(arrays, {lr, momentum, dampening, weight_decay, nesterov, maximize});
      },
      py::arg("params"), py::arg("grads"), py::arg("momentum_buffers"), py::arg("new_buffers"),
      py::arg("lr"), py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"),
      py::arg("nesterov"), py::arg("maximize"));
}

}  // namespace

void register_sgd(py::module_& module) {
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
