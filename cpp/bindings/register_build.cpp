#include <pybind11/stl.h>

#include "arrays.h"
#include "piste/isa.h"
#include "piste/threads.h"
#include "registers.h"

namespace piste {

void register_build(py::module_& module) {
  module.attr("__version__") = PISTE_VERSION;
#if defined(__clang__)
  module.attr("compiler") = "Clang " __clang_version__;
#else
  module.attr("compiler") = "GCC " __VERSION__;
#endif
  module.def("active_isa", &active_isa);
  module.def("available_isas", &available_isas);
  module.def("available_cpus", &available_cpus);
  module.def("num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace piste
