#pragma once
// All conversion between NumPy arrays and views. An array argument must already have the view's
// dtype, native byte order and C order (python/piste/_arrays.py sees to it); None is a null view.
// Outputs are allocated in Python and passed in.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <type_traits>

#include "gil.h"
#include "piste/tensor.h"
#include "piste/threads.h"

namespace pybind11::detail {

template <class T>
struct type_caster<piste::View<T>> {
  using Value = std::remove_const_t<T>;
  PYBIND11_TYPE_CASTER(piste::View<T>, const_name("numpy.typing.NDArray[") +
                                           npy_format_descriptor<Value>::name +
                                           const_name("] | None"));

  bool load(handle source, bool) {
    if (source.is_none()) return true;
    if (!array_t<Value, array::c_style>::check_(source)) return false;
    auto array = reinterpret_borrow<pybind11::array>(source);
    if constexpr (!std::is_const_v<T>)
      if (!array.writeable()) return false;
    if (array.ndim() > piste::Shape::max_rank) return false;
    value.data = static_cast<T*>(const_cast<void*>(array.data()));
    for (ssize_t axis = 0; axis < array.ndim(); ++axis) value.shape.push_back(array.shape(axis));
    return true;
  }
};

}  // namespace pybind11::detail

namespace piste {

namespace py = pybind11;

/// Registers one C++ function; array arguments are converted, then the GIL is released and the
/// number of threads fixed.
template <class F, class... Args>
void def_released(py::module_& module, const char* name, F function, const Args&... args) {
  module.def(name, function, args..., py::call_guard<GilReleased, FixedThreads>());
}

}  // namespace piste
