#include "engine/sample_reader.h"

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "dispatch/dispatch.h"

namespace piste {
namespace {

template <class From>
From load(const std::byte* at) {
  From value;
  std::memcpy(&value, at, sizeof value);  // alignment is the user's affair
  return value;
}

template <class From, class T>
void copy_row(const std::byte* from, Index stride, T* to, Index n, T scale, T shift) {
  const auto number = [&](const std::byte* at) {
    if constexpr (std::is_same_v<From, std::uint8_t>)
      return scale * static_cast<T>(load<From>(at)) + shift;
    else
      return static_cast<T>(load<From>(at));
  };
  if (stride == Index(sizeof(From)))
    for (Index i = 0; i < n; ++i) to[i] = number(from + i * Index(sizeof(From)));
  else
    for (Index i = 0; i < n; ++i) to[i] = number(from + i * stride);
}

/// Returns the end of what it wrote.
template <class From, class T, std::size_t N>
T* copy(const std::byte* from, const Index (&extents)[N], const Index (&strides)[N], T* to, T scale,
        T shift, std::size_t axis = 0) {
  if (axis + 1 == N) {
    copy_row<From>(from, strides[axis], to, extents[axis], scale, shift);
    return to + extents[axis];
  }
  for (Index i = 0; i < extents[axis]; ++i)
    to = copy<From>(from + i * strides[axis], extents, strides, to, scale, shift, axis + 1);
  return to;
}

Index bytes_of(Scalar scalar) {
  switch (scalar) {
    case Scalar::uint8:
      return 1;
    case Scalar::float32:
      return 4;
    default:
      return 8;
  }
}

}  // namespace

template <class T>
SampleReader<T>::SampleReader(const Input& x, T scale, T shift)
    : x_(x), scale_(scale), shift_(shift) {
  const Index size = bytes_of(x.scalar);
  Index dense_stride = size;
  dense_ = true;
  check(x.shape.rank() <= axes + 1, "network", "expected samples of at most ", axes,
        " dimensions, got ", x.sample_shape());
  for (int i = axes - 1; i >= 0; --i) {
    const int axis = x.shape.rank() - axes + i;
    extents_[i] = axis >= 1 ? x.shape[axis] : 1;
    strides_[i] = axis >= 1 ? x.strides[axis] : 0;
    if (extents_[i] > 1 && strides_[i] != dense_stride) dense_ = false;
    dense_stride *= extents_[i];
  }
  const bool same = x.scalar == (sizeof(T) == 4 ? Scalar::float32 : Scalar::float64);
  const auto misaligned = [](auto value) { return value % Index(sizeof(T)) != 0; };
  direct_ = dense_ && same && !misaligned(reinterpret_cast<std::intptr_t>(x.data)) &&
            !misaligned(x.strides[0]);
  if (dense_) {  // one row
    for (int i = 0; i < axes - 1; ++i) extents_[axes - 1] *= std::exchange(extents_[i], 1);
    strides_[axes - 1] = size;
  }
}

template <class T>
const T* SampleReader<T>::read(Index i, T* numbers) const {
  const std::byte* from = x_.data + i * x_.strides[0];
  if (direct_) return reinterpret_cast<const T*>(from);
  if (x_.scalar == Scalar::uint8 && dense_)
    kernel_table<T>().layout->from_bytes(reinterpret_cast<const unsigned char*>(from), numbers,
                                         extents_[axes - 1], scale_, shift_);
  else if (x_.scalar == Scalar::uint8)
    copy<std::uint8_t>(from, extents_, strides_, numbers, scale_, shift_);
  else if (x_.scalar == Scalar::float32)
    copy<float>(from, extents_, strides_, numbers, scale_, shift_);
  else
    copy<double>(from, extents_, strides_, numbers, scale_, shift_);
  return numbers;
}

template <class T>
const T* SampleReader<T>::batch(const std::int64_t* order, Index n) const {
  if (!direct_ || (n > 1 && x_.strides[0] != extents_[axes - 1] * strides_[axes - 1]))
    return nullptr;
  for (Index i = 1; order && i < n; ++i)
    if (order[i] != order[0] + i) return nullptr;
  return read(order ? order[0] : 0, nullptr);
}

template <class T>
void SampleReader<T>::prefetch(Index i) const {
  if (!dense_) return;
  const std::byte* from = x_.data + i * x_.strides[0];
  const Index bytes = extents_[axes - 1] * strides_[axes - 1];
  for (Index at = 0; at < bytes; at += 64) __builtin_prefetch(from + at);
}

template class SampleReader<float>;
template class SampleReader<double>;

}  // namespace piste
