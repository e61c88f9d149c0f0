// Prints what the machine grants now: GFLOP/s of multiply-adds in float32, and GB/s of a triad.
// c++ -std=gnu++20 -O3 -march=native -fopenmp peak.cpp

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif
typedef float Vec __attribute__((vector_size(4 * lanes)));

constexpr int chains = 10;  // independent sums: enough for two units of latency 4 or 5
constexpr long turns = 2'000'000, values = 1L << 24;

/// Seconds of one multiply-add loop on every thread.
void multiply_add(const float* factor) {
  Vec sums[chains] = {};
  for (Vec& sum : sums) asm volatile("" : "+m"(sum));  // or the compiler computes one for all
  const Vec a = Vec{} + *factor, b = a + 1;
  for (long i = 0; i < turns; ++i)
    for (Vec& sum : sums) sum = sum * a + b;
  for (Vec& sum : sums) asm volatile("" : : "m"(sum));
}

template <class Body>
double best_seconds(int repeats, Body&& body) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count());
  }
  return best;
}

}  // namespace

int main() {
  int threads = 0;
  volatile float factor = 0.5f;
  const float read = factor;
  const double sums = best_seconds(10, [&] {
    threads = 0;
#pragma omp parallel reduction(+ : threads)
    {
      multiply_add(&read);
      threads += 1;
    }
  });
  std::vector<float> a(values), b(values, 1.f), c(values, 2.f);
  const double triad = best_seconds(10, [&] {
#pragma omp parallel for
    for (long i = 0; i < values; ++i) a[i] = b[i] + read * c[i];
  });
  std::printf("%.2f %.2f\n", 2e-9 * lanes * chains * turns * threads / sums,
              1e-9 * 3 * sizeof(float) * values / triad);
}
