#include "arrays.h"
#include "piste/norm.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
void define(py::module_& module) {
  def_released(module, "batch_norm", &batch_norm<T>, py::arg("input"), py::arg("running_mean"),
               py::arg("running_var"), py::arg("weight"), py::arg("bias"), py::arg("options"),
               py::arg("out"));
  def_released(module, "batch_norm_backward", &batch_norm_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("running_mean"), py::arg("running_var"), py::arg("weight"),
               py::arg("options"), py::arg("grad_input"), py::arg("grad_weight"),
               py::arg("grad_bias"));
}

}  // namespace

void register_norm(py::module_& module) {
  py::class_<BatchNormOptions>(module, "BatchNormOptions")
      .def(py::init([](bool training, double momentum, double eps) {
             return BatchNormOptions{training, momentum, eps};
           }),
           py::arg("training"), py::arg("momentum"), py::arg("eps"));
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
