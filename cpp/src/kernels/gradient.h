#pragma once

namespace piste::kernels {

/// The gradient of an output that two may have read and ReLU may have given:
/// whole = first + second where y > 0, else 0. A NaN in y passes on, as in ReLU's own gradient.
template <class T>
struct OutputGradient {
  const T* first;
  const T* second = nullptr;  // null: nothing is added
  const T* y = nullptr;       // null: no ReLU
  T* whole = nullptr;         // may be first or second; null where it is first as it stands
};

}  // namespace piste::kernels
