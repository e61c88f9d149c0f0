#pragma once

#include <cmath>
#include <cstdio>
#include <vector>

namespace piste::test {

inline int failures = 0;

inline void expect(bool holds, const char* text, const char* file, int line) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
}

inline void expect_close(double got, double expected, double tolerance, const char* file,
                         int line) {
  if (std::abs(got - expected) <= tolerance * (1 + std::abs(expected))) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: expected %.17g, got %.17g\n", file, line, expected, got);
}

/// Values on the heap and not one more: what a kernel reads or writes beyond them, AddressSanitizer
/// reports. They are small, of both signs, and repeat with a period that no vector width divides.
template <class T>
std::vector<T> values(std::size_t n, int seed) {
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i)
    x[i] =
        static_cast<T>(static_cast<int>((i * 37 + static_cast<std::size_t>(seed) * 11) % 41) - 20) /
        T(8);
  return x;
}

}  // namespace piste::test

#define EXPECT(condition) ::piste::test::expect((condition), #condition, __FILE__, __LINE__)
#define EXPECT_CLOSE(got, expected, tolerance) \
  ::piste::test::expect_close((got), (expected), (tolerance), __FILE__, __LINE__)
