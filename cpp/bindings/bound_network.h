#pragma once
// Networks as Python holds them, and calls of them.

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "arrays.h"
#include "exclusive.h"
#include "piste/network.h"

namespace piste {

/// Raises what a signal's handler raises: KeyboardInterrupt for Ctrl-C. Python runs handlers on
/// its main thread alone, so no other thread need wait for the GIL here.
inline void check_signals() {
#if defined(__linux__)
  if (gettid() != getpid()) return;
#elif defined(__APPLE__)
  if (!pthread_main_np()) return;
#endif
  py::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

/// A network together with the arrays whose memory it reads and updates.
template <class T>
struct BoundNetwork {
  Network<T> network;
  std::vector<py::array> arrays;
  std::vector<py::object> bases;
  Exclusive exclusive;

  BoundNetwork() { network.set_question(check_signals); }

  /// The view of an array; None gives a null view. It lives as long as the network, and so does its
  /// base, which holds the memory: an array can be given another.
  template <class U = T>
  View<U> own(const py::object& array) {
    if (array.is_none()) return {};
    const auto view = array.cast<View<const U>>();
    arrays.push_back(array);
    bases.push_back(array.attr("base"));
    return {const_cast<U*>(view.data), view.shape};
  }

  /// Whether all that training writes to may be written to; predictions don't ask.
  bool writeable() const {
    return std::all_of(arrays.begin(), arrays.end(),
                       [](const py::array& a) { return a.writeable(); });
  }
};

/// A call into the engine: without the GIL, alone on its network, on one number of threads.
template <class T>
struct Call {
  explicit Call(BoundNetwork<T>& b) : hold(b.exclusive) {}
  GilReleased released;  // first: whoever holds the network may need the GIL
  Exclusive::Hold hold;
  FixedThreads threads;
};

inline Input as_input(const py::array& x) {
  Input input;
  check(x.ndim() >= 1 && x.ndim() <= Shape::max_rank, "network",
        "expected an array of samples of at most ", Shape::max_rank - 1, " dimensions");
  const py::dtype dtype = x.dtype();
  const char kind = dtype.char_(), order = dtype.byteorder();
  const bool bytes = kind == 'B', singles = kind == 'f';
  check((bytes || singles || kind == 'd') && (order == '=' || order == '|'), "network",
        "expected an array of native float32, float64 or uint8");
  input.scalar = bytes ? Scalar::uint8 : singles ? Scalar::float32 : Scalar::float64;
  input.data = static_cast<const std::byte*>(x.data());
  for (int axis = 0; axis < x.ndim(); ++axis) {
    input.shape.push_back(x.shape(axis));
    input.strides[axis] = x.strides(axis);
  }
  return input;
}

template <class T>
Target<T> as_target(const py::object& y, View<const T> sample_weight) {
  Target<T> target;
  target.sample_weight = sample_weight;
  if (py::isinstance<py::array_t<std::int64_t, py::array::c_style>>(y))
    target.labels = y.cast<View<const std::int64_t>>();
  else
    target.dense = y.cast<View<const T>>();
  return target;
}

}  // namespace piste
