#include "engine/sample_reader.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

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

template <class From, class T>
void copy(const std::byte* from, const Index (&extents)[3], const Index (&strides)[3], T* to,
          T scale, T shift) {
  for (Index i = 0; i < extents[0]; ++i)
    for (Index j = 0; j < extents[1]; ++j, to += extents[2])
      copy_row<From>(from + i * strides[0] + j * strides[1], strides[2], to, extents[2], scale,
                     shift);
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
  for (int i = 2; i >= 0; --i) {
    const int axis = x.shape.rank() - 3 + i;
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
    extents_[2] *= extents_[0] * extents_[1];
    extents_[0] = extents_[1] = 1;
    strides_[2] = size;
  }
}

template <class T>
const T* SampleReader<T>::read(Index i, T* numbers) const {
  const std::byte* from = x_.data + i * x_.strides[0];
  if (direct_) return reinterpret_cast<const T*>(from);
  if (x_.scalar == Scalar::uint8 && dense_)
    kernel_table<T>().layout->from_bytes(reinterpret_cast<const unsigned char*>(from), numbers,
                                         extents_[2], scale_, shift_);
  else if (x_.scalar == Scalar::uint8)
    copy<std::uint8_t>(from, extents_, strides_, numbers, scale_, shift_);
  else if (x_.scalar == Scalar::float32)
    copy<float>(from, extents_, strides_, numbers, scale_, shift_);
  else
    copy<double>(from, extents_, strides_, numbers, scale_, shift_);
  return numbers;
}

template <class T>
void SampleReader<T>::prefetch(Index i) const {
  if (!dense_) return;
  const std::byte* from = x_.data + i * x_.strides[0];
  for (Index at = 0; at < extents_[2] * strides_[2]; at += 64) __builtin_prefetch(from + at);
}

template class SampleReader<float>;
template class SampleReader<double>;

}  // namespace piste
