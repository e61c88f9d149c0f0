#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "piste/tensor.h"

namespace piste {

enum class Scalar { uint8, float32, float64 };

/// Images or features as the user holds them: (samples, ...) in any of the types above, with any
/// strides, aligned or not. Samples are converted one by one where a batch reads them, so that
/// files larger than memory can be trained on, and channels-last images as they are.
struct Input {
  using Strides = std::array<Index, Shape::max_rank>;

  const std::byte* data = nullptr;
  Scalar scalar = Scalar::float32;
  Shape shape;
  Strides strides{};  // bytes

  Input() = default;
  Input(const void* values, Scalar type, const Shape& extents, const Strides& steps)
      : data(static_cast<const std::byte*>(values)), scalar(type), shape(extents), strides(steps) {}

  // Arrays in C order.
  Input(const std::uint8_t* bytes, const Shape& extents)
      : Input(bytes, Scalar::uint8, extents, 1) {}
  Input(const float* values, const Shape& extents) : Input(values, Scalar::float32, extents, 4) {}
  Input(const double* values, const Shape& extents) : Input(values, Scalar::float64, extents, 8) {}

  Index samples() const { return shape[0]; }
  Shape sample_shape() const {
    Shape sample;
    for (int axis = 1; axis < shape.rank(); ++axis) sample.push_back(shape[axis]);
    return sample;
  }
  /// Samples first, first + 1, ...
  Input from(Index first) const {
    Input rest = *this;
    rest.data += first * strides[0];
    return rest;
  }

 private:
  Input(const void* values, Scalar type, const Shape& extents, Index step)
      : Input(values, type, extents, Strides{}) {
    for (int axis = shape.rank(); axis-- > 0; step *= shape[axis]) strides[axis] = step;
  }
};

}  // namespace piste
