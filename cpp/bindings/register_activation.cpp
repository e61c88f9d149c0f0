#include "arrays.h"
#include "names.h"
#include "piste/activation.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
void define(py::module_& module) {
  def_released(
      module, "activation",
      [](const std::string& kind, View<const T> x, View<T> y, T a, T b) {
        activation(activation_named(kind), x, y, a, b);
      },
      py::arg("kind"), py::arg("input"), py::arg("out"), py::arg("a") = 0, py::arg("b") = 0);
  def_released(
      module, "activation_backward",
      [](const std::string& kind, View<const T> dy, View<const T> x, View<T> dx, T a, T b) {
        activation_backward(activation_named(kind), dy, x, dx, a, b);
      },
      py::arg("kind"), py::arg("grad_output"), py::arg("input"), py::arg("grad_input"),
      py::arg("a") = 0, py::arg("b") = 0);
  def_released(module, "prelu", &prelu<T>, py::arg("input"), py::arg("weight"), py::arg("out"));
  def_released(module, "prelu_backward", &prelu_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("weight"), py::arg("grad_input"), py::arg("grad_weight"));
  def_released(module, "softmax", &softmax<T>, py::arg("input"), py::arg("out"), py::arg("log"));
  def_released(module, "softmax_backward", &softmax_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("grad_input"), py::arg("log"));
  def_released(module, "dropout", &dropout<T>, py::arg("input"), py::arg("out"), py::arg("p"),
               py::arg("key"));
}

}  // namespace

void register_activation(py::module_& module) {
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
