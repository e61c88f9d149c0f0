#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <utility>

#include "arrays.h"
#include "piste/isa.h"
#include "piste/memory.h"
#include "piste/threads.h"
#include "registers.h"

namespace piste {
namespace {

using Memory = std::shared_ptr<std::byte>;

/// An array that keeps its memory, but is not what NumPy takes for its owner: it can't be resized.
py::array_t<std::uint8_t> array_in(Memory given, std::size_t bytes) {
  auto memory = std::make_unique<Memory>(std::move(given));
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
  module.def(
      "empty", [](std::size_t bytes) { return array_in(result_memory(bytes), bytes); },
      py::arg("bytes"));
  module.def(
      "lasting", [](std::size_t bytes) { return array_in(lasting_memory(bytes), bytes); },
      py::arg("bytes"));
  module.def(
      "overwrite",
      [](const std::vector<py::array>& targets, const std::vector<py::array>& sources) {
        check(targets.size() == sources.size(), "overwrite", "expected ", targets.size(),
              " sources, got ", sources.size());
        const auto contiguous = [](const py::array& a) { return a.flags() & py::array::c_style; };
        for (std::size_t i = 0; i < targets.size(); ++i)
          check(contiguous(targets[i]) && contiguous(sources[i]) && targets[i].writeable() &&
                    targets[i].dtype().is(sources[i].dtype()) &&
                    targets[i].nbytes() == sources[i].nbytes(),
                "overwrite", "source ", i, " is not of its target's kind");
        for (std::size_t i = 0; i < targets.size(); ++i)
          std::memcpy(const_cast<void*>(targets[i].data()), sources[i].data(), sources[i].nbytes());
      },
      py::arg("targets"), py::arg("sources"));
  module.def("num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace piste
