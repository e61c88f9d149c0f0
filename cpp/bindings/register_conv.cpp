#include <pybind11/stl.h>

#include "arrays.h"
#include "names.h"
#include "piste/conv.h"
#include "registers.h"

namespace piste {
namespace {

using Triple = std::array<Index, 3>;

template <class T>
void define(py::module_& module) {
  def_released(module, "conv", &conv<T>, py::arg("input"), py::arg("weight"), py::arg("bias"),
               py::arg("options"), py::arg("out"));
  def_released(module, "conv_backward", &conv_backward<T>, py::arg("grad_output"), py::arg("input"),
               py::arg("weight"), py::arg("options"), py::arg("grad_input"), py::arg("grad_weight"),
               py::arg("grad_bias"));
  def_released(module, "conv_transpose", &conv_transpose<T>, py::arg("input"), py::arg("weight"),
               py::arg("bias"), py::arg("options"), py::arg("out"));
  def_released(module, "conv_transpose_backward", &conv_transpose_backward<T>,
               py::arg("grad_output"), py::arg("input"), py::arg("weight"), py::arg("options"),
               py::arg("grad_input"), py::arg("grad_weight"), py::arg("grad_bias"));
}

}  // namespace

void register_conv(py::module_& module) {
  py::class_<ConvOptions>(module, "ConvOptions")
      .def(py::init([](Triple stride, Triple dilation, Triple pad_low, Triple pad_high,
                       Index groups, const std::optional<std::string>& algorithm) {
             ConvOptions options{stride, dilation, pad_low, pad_high, groups, {}};
             if (algorithm) options.algorithm = algorithm_named(*algorithm);
             return options;
           }),
           py::arg("stride"), py::arg("dilation"), py::arg("pad_low"), py::arg("pad_high"),
           py::arg("groups"), py::arg("algorithm"));
  module.def("algorithm", [] { return name_of(default_algorithm()); });
  module.def("set_algorithm",
             [](const std::string& name) { set_default_algorithm(algorithm_named(name)); });
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
