#include "arrays.h"
#include "piste/linear.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
void define(py::module_& module) {
  def_released(module, "linear", &linear<T>, py::arg("input"), py::arg("weight"), py::arg("bias"),
               py::arg("out"));
  def_released(module, "linear_backward", &linear_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("weight"), py::arg("grad_input"), py::arg("grad_weight"),
               py::arg("grad_bias"));
}

}  // namespace

void register_linear(py::module_& module) {
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
