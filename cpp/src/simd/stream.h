#pragma once
// Stores that go past the caches. GCC's vector extensions know none. For *.isa.cpp only.

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

#if defined(__AVX512F__)
using StreamUnit = __m512i;
inline void stream_unit(StreamUnit* to, StreamUnit v) { _mm512_stream_si512(to, v); }
#elif defined(__AVX__)
using StreamUnit = __m256i;
inline void stream_unit(StreamUnit* to, StreamUnit v) { _mm256_stream_si256(to, v); }
#elif defined(__SSE2__)
using StreamUnit = __m128i;
inline void stream_unit(StreamUnit* to, StreamUnit v) { _mm_stream_si128(to, v); }
#else
struct StreamUnit {
  std::uint64_t half[2];
};
inline void stream_unit(StreamUnit* to, StreamUnit v) { std::memcpy(to, &v, sizeof v); }
#endif

/// Stores v at a multiple of its size.
template <class T>
[[gnu::always_inline]] inline void stream(Vec<T> v, T* to) {
  constexpr int units = sizeof v / sizeof(StreamUnit);
  StreamUnit parts[units];
  std::memcpy(parts, &v, sizeof v);
  for (int i = 0; i < units; ++i) stream_unit(reinterpret_cast<StreamUnit*>(to) + i, parts[i]);
}

/// Whether values from `to` on reach a place that stream() takes: not where they begin within one.
template <class T>
bool reaches_stream(const T* to) {
  return reinterpret_cast<std::uintptr_t>(to) % sizeof(T) == 0;
}

/// Values from `to` on to the next place that stream() takes; to be stored before.
template <class T>
std::int64_t stream_distance(const T* to) {
  const std::uintptr_t past = reinterpret_cast<std::uintptr_t>(to) % sizeof(Vec<T>);
  return static_cast<std::int64_t>((past ? sizeof(Vec<T>) - past : 0) / sizeof(T));
}

/// What was streamed is in memory before anything that is stored from now on.
inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace piste::PISTE_ISA
