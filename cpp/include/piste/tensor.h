#pragma once

#include <array>
#include <initializer_list>
#include <ostream>

#include "piste/errors.h"
#include "piste/index.h"

namespace piste {

/// a * b for sizes; throws where the product does not fit 64 bits.
inline Index checked_mul(Index a, Index b) {
  Index product;
  if (__builtin_mul_overflow(a, b, &product)) fail("piste", "size overflow: ", a, " * ", b);
  return product;
}

/// Up to six extents, outermost first.
class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<Index> dims) {
    for (Index dim : dims) push_back(dim);
  }

  int rank() const { return rank_; }
  Index operator[](int axis) const { return dims_[axis < 0 ? axis + rank_ : axis]; }
  Index& operator[](int axis) { return dims_[axis < 0 ? axis + rank_ : axis]; }
  const Index* begin() const { return dims_.data(); }
  const Index* end() const { return dims_.data() + rank_; }

  void push_back(Index dim) {
    check(rank_ < max_rank, "piste", "arrays have at most ", max_rank, " dimensions");
    check(dim >= 0, "piste", "negative extent ", dim);
    dims_[rank_++] = dim;
  }

  /// Product of the extents, checked against overflow.
  Index size() const {
    Index product = 1;
    for (Index dim : *this) product = checked_mul(product, dim);
    return product;
  }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int axis = 0; axis < rank_; ++axis)
      if (dims_[axis] != other.dims_[axis]) return false;
    return true;
  }

 private:
  std::array<Index, max_rank> dims_{};
  int rank_ = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int axis = 0; axis < shape.rank(); ++axis) out << (axis ? ", " : "") << shape[axis];
  return out << (shape.rank() == 1 ? ",)" : ")");
}

/// A C-contiguous array that somebody else owns. A null `data` stands for "not given".
template <class T>
struct View {
  T* data = nullptr;
  Shape shape;

  Index size() const { return shape.size(); }
  explicit operator bool() const { return data != nullptr; }
  operator View<const T>() const { return {data, shape}; }
};

}  // namespace piste
