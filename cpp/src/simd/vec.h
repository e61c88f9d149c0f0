#pragma once
// One vector type for every ISA: GCC/Clang vector extensions of PISTE_VECTOR_BYTES bytes. Wider
// than the target's registers, the compiler splits it. Included by *.isa.cpp only; everything is
// in an anonymous namespace, so that no copy compiled for one ISA can be linked into another.

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif
#include <cstdint>
#include <cstring>
#include <utility>

// One vector is one register of AVX2.
#if defined(__AVX2__) && PISTE_VECTOR_BYTES == 32
#define PISTE_AVX2_VECTORS
#endif

namespace piste::PISTE_ISA {
namespace {

// The native types are spelled out per T: GCC drops the attribute of a typedef of a dependent type
// where it compares overloads.
template <class T>
struct Native;
template <>
struct Native<float> {
  using Int = std::int32_t;
  typedef float Vector __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef Int Mask __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef std::uint32_t Bits __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(PISTE_VECTOR_BYTES), aligned(4), may_alias));
};
template <>
struct Native<double> {
  using Int = std::int64_t;
  typedef double Vector __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef Int Mask __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef std::uint64_t Bits __attribute__((vector_size(PISTE_VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(PISTE_VECTOR_BYTES), aligned(8), may_alias));
};

/// `lanes` values of T. Comparisons give integer masks (all ones or zero) for select().
template <class T>
struct Vec {
  using Int = typename Native<T>::Int;
  using Vector = typename Native<T>::Vector;
  using Mask = typename Native<T>::Mask;
  using Bits = typename Native<T>::Bits;  // for sums that may wrap around

  static constexpr int lanes = PISTE_VECTOR_BYTES / sizeof(T);

  Vector v;

  Vec() = default;
  Vec(Vector vector) : v(vector) {}
  Vec(T value) : v(value - Vector{}) {}  // x - 0: keeps the sign of -0, unlike x + 0

  static Vec zero() { return Vector{}; }
  static Vec load(const T* from) {
    return Vector(*reinterpret_cast<const typename Native<T>::Unaligned*>(from));
  }
  void store(T* to) const { *reinterpret_cast<typename Native<T>::Unaligned*>(to) = v; }

  /// The first n of `lanes` values, the rest `fill`. (A plain loop would become a call of memcpy.)
  static Vec load_partial(const T* from, int n, T fill = 0) {
    Vec result(fill);
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      result.v = (Vector)_mm512_mask_loadu_ps((__m512)result.v, first_bits(n), from);
    else
      result.v = (Vector)_mm512_mask_loadu_pd((__m512d)result.v, first_bits(n), from);
#elif defined(PISTE_AVX2_VECTORS)
    const Mask mask = first(n);
    if constexpr (sizeof(T) == 4)
      result.v = mask ? (Vector)_mm256_maskload_ps(from, (__m256i)mask) : result.v;
    else
      result.v = mask ? (Vector)_mm256_maskload_pd(from, (__m256i)mask) : result.v;
#elif PISTE_VECTOR_BYTES == 64  // split over registers, which only tests do: the shortest code
    for (int i = 0; i < n; ++i) result.v[i] = from[i];
#else
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i)
      if (i < n) result.v[i] = from[i];
#endif
    return result;
  }
  void store_partial(T* to, int n) const {
    if (n == lanes) return store(to);
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_ps(to, first_bits(n), (__m512)v);
    else
      _mm512_mask_storeu_pd(to, first_bits(n), (__m512d)v);
#elif PISTE_VECTOR_BYTES == 64
    for (int i = 0; i < n; ++i) to[i] = v[i];
#else  // AVX2 has a masked store too, of dozens of micro-operations on some CPUs
    store_halves<lanes / 2>(v, to, n, std::make_integer_sequence<int, lanes>());
#endif
  }
  /// All ones in the first n lanes.
  static Mask first(std::int64_t n) {
    Mask lane;
    for (int i = 0; i < lanes; ++i) lane[i] = i;
    return lane < static_cast<Int>(n);
  }

  friend Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend Vec operator-(Vec a) { return -a.v; }
  Vec& operator+=(Vec b) { return v += b.v, *this; }
  Vec& operator-=(Vec b) { return v -= b.v, *this; }
  Vec& operator*=(Vec b) { return v *= b.v, *this; }

  friend Mask operator<(Vec a, Vec b) { return a.v < b.v; }
  friend Mask operator>(Vec a, Vec b) { return a.v > b.v; }
  friend Mask operator<=(Vec a, Vec b) { return a.v <= b.v; }
  friend Mask operator>=(Vec a, Vec b) { return a.v >= b.v; }
  friend Mask operator==(Vec a, Vec b) { return a.v == b.v; }
  friend Mask operator!=(Vec a, Vec b) { return a.v != b.v; }

  /// mask ? a : b, lane by lane.
  static Vec select(Mask mask, Vec a, Vec b) { return mask ? a.v : b.v; }

  /// Sum of the lanes in one fixed order (pairwise: halves, quarters, ...).
  T sum() const {
    Vector s = v;
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) s[i] += s[i + width];
    return s[0];
  }

#if defined(__AVX512F__)
 private:
  static __mmask16 first_bits(int n) { return static_cast<__mmask16>((1u << n) - 1); }
#else
 private:
  /// Stores the first n < 2 K values: those K first, where the number has that bit, and so on.
  template <int K, int... J>
  static void store_halves(Vector x, T* to, int n, std::integer_sequence<int, J...> each) {
    if constexpr (K > 0) {
      if (n & K) {
        store_first(x, to, std::make_integer_sequence<int, K>());
        to += K;
        x = __builtin_shufflevector(x, x, ((J + K) % lanes)...);
      }
      store_halves<K / 2>(x, to, n, each);
    }
  }
  template <int... J>
  static void store_first(Vector x, T* to, std::integer_sequence<int, J...>) {
    if constexpr (sizeof...(J) == 1) {
      *to = x[0];
    } else {
      const auto part = __builtin_shufflevector(x, x, J...);
      std::memcpy(to, &part, sizeof(part));
    }
  }
#endif
};

/// a * b + c, one rounding where the ISA has FMA (-ffp-contract=fast fuses it).
template <class T>
Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a.v * b.v + c.v;
}

/// max(x, 0), NaN kept.
template <class T>
[[gnu::always_inline]] inline Vec<T> at_least_zero(Vec<T> x) {
  return Vec<T>::select(x < Vec<T>::zero(), Vec<T>::zero(), x);
}

/// Keeps GCC from reading an operand again from memory for its second multiplication: loads, two a
/// cycle, would then bound the tile.
template <class T>
inline __attribute__((always_inline)) Vec<T> loaded_once(Vec<T> x) {
#if defined(__AVX512F__) || defined(PISTE_AVX2_VECTORS)
  asm("" : "+v"(x.v));
#endif
  return x;
}

}  // namespace
}  // namespace piste::PISTE_ISA
