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
  def_released(module, "layer_norm", &layer_norm<T>, py::arg("input"), py::arg("weight"),
               py::arg("bias"), py::arg("eps"), py::arg("out"));
  def_released(module, "layer_norm_backward", &layer_norm_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("weight"), py::arg("eps"), py::arg("grad_input"),
               py::arg("grad_weight"), py::arg("grad_bias"));
  def_released(module, "group_norm", &group_norm<T>, py::arg("input"), py::arg("groups"),
               py::arg("weight"), py::arg("bias"), py::arg("eps"), py::arg("out"), py::arg("mean"),
               py::arg("var"));
  def_released(module, "group_norm_backward", &group_norm_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("groups"), py::arg("weight"), py::arg("eps"),
               py::arg("grad_input"), py::arg("grad_weight"), py::arg("grad_bias"));
  def_released(module, "local_response_norm", &local_response_norm<T>, py::arg("input"),
               py::arg("options"), py::arg("out"));
  def_released(module, "local_response_norm_backward", &local_response_norm_backward<T>,
               py::arg("grad_output"), py::arg("input"), py::arg("options"), py::arg("grad_input"));
}

}  // namespace

void register_norm(py::module_& module) {
  py::class_<BatchNormOptions>(module, "BatchNormOptions")
      .def(py::init([](bool training, double momentum, double eps) {
             return BatchNormOptions{training, momentum, eps};
           }),
           py::arg("training"), py::arg("momentum"), py::arg("eps"));
  py::class_<ResponseNormOptions>(module, "ResponseNormOptions")
      .def(py::init([](Index size, double alpha, double beta, double k) {
             return ResponseNormOptions{size, alpha, beta, k};
           }),
           py::arg("size"), py::arg("alpha"), py::arg("beta"), py::arg("k"));
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
