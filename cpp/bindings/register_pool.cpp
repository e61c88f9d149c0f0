#include <pybind11/stl.h>

#include "arrays.h"
#include "piste/pool.h"
#include "registers.h"

namespace piste {
namespace {

using Triple = std::array<Index, 3>;

template <class T>
void define(py::module_& module) {
  def_released(module, "max_pool", &max_pool<T>, py::arg("input"), py::arg("out"),
               py::arg("indices"), py::arg("window"));
  def_released(module, "max_pool_backward", &max_pool_backward<T>, py::arg("grad_output"),
               py::arg("input"), py::arg("grad_input"), py::arg("window"));
  def_released(module, "avg_pool", &avg_pool<T>, py::arg("input"), py::arg("out"),
               py::arg("window"), py::arg("count_include_pad"), py::arg("divisor_override"));
  def_released(module, "avg_pool_backward", &avg_pool_backward<T>, py::arg("grad_output"),
               py::arg("grad_input"), py::arg("window"), py::arg("count_include_pad"),
               py::arg("divisor_override"));
  def_released(module, "adaptive_avg_pool", &adaptive_avg_pool<T>, py::arg("input"),
               py::arg("out"));
  def_released(module, "adaptive_avg_pool_backward", &adaptive_avg_pool_backward<T>,
               py::arg("grad_output"), py::arg("grad_input"));
  def_released(module, "adaptive_max_pool", &adaptive_max_pool<T>, py::arg("input"), py::arg("out"),
               py::arg("indices"));
  def_released(module, "adaptive_max_pool_backward", &adaptive_max_pool_backward<T>,
               py::arg("grad_output"), py::arg("input"), py::arg("grad_input"));
}

}  // namespace

void register_pool(py::module_& module) {
  py::class_<PoolWindow>(module, "PoolWindow")
      .def(py::init<Triple, Triple, Triple, Triple, bool>(), py::arg("kernel"), py::arg("stride"),
           py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
  module.def("pool_extent", &pool_extent, py::arg("input"), py::arg("kernel"), py::arg("stride"),
             py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
  define<float>(module);
  define<double>(module);
}

}  // namespace piste
