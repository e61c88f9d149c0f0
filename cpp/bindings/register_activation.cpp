#include "arrays.h"
#include "piste/activation.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
void define(py::module_& module) {
  def_released(module, "relu", &relu<T>, py::arg("input"), py::arg("out"));
  def_released(module, "relu_backward", &relu_backward<T>, py::arg("grad_output"), py::arg("input"),
               py::arg("grad_input"));
}

}  // namespace

void register_activation(py::module_& module) {
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
