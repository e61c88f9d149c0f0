#include <pybind11/stl.h>

#include "arrays.h"
#include "piste/isa.h"
#include "piste/memory.h"
#include "piste/threads.h"
#include "registers.h"

namespace piste {
namespace {

py::array_t<std::uint8_t> empty(std::size_t bytes) {
  using Memory = std::shared_ptr<std::byte>;
  auto memory = std::make_unique<Memory>(result_memory(bytes));
  const std::byte* data = memory->get();
  const py::capsule owner(memory.get(), [](void* held) { delete static_cast<Memory*>(held); });
  memory.release();
  return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes),
                                   reinterpret_cast<const std::uint8_t*>(data), owner);
}

}  // namespace

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
  module.def("empty", &empty, py::arg("bytes"));
  module.def("num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace piste
