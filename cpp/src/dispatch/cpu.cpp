#include "dispatch/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#include <initializer_list>
#endif

namespace piste {

#if defined(__x86_64__)
namespace {

struct Registers {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool all(std::uint32_t value, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(value >> bit & 1)) return false;
  return true;
}

// The registers whose state the operating system saves: XCR0, readable where OSXSAVE is set.
std::uint64_t enabled_state() {
  std::uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

}  // namespace

CpuFeatures cpu_features() {
  CpuFeatures features;
  const Registers one = cpuid(1), seven = cpuid(7), extended = cpuid(0x80000001u);
  // leaf 1 ecx: SSE3 0, SSSE3 9, CX16 13, SSE4.1 19, SSE4.2 20, POPCNT 23
  features.x86_64_v2 = all(one.c, {0, 9, 13, 19, 20, 23});
  const bool os_saves = one.c >> 27 & 1;
  const std::uint64_t state = os_saves ? enabled_state() : 0;
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
  // leaf 1 ecx: FMA 12, MOVBE 22, AVX 28, F16C 29; leaf 7 ebx: BMI1 3, AVX2 5, BMI2 8;
  // leaf 0x80000001 ecx: LZCNT 5
  features.x86_64_v3 = features.x86_64_v2 && ymm && all(one.c, {12, 22, 28, 29}) &&
                       all(seven.b, {3, 5, 8}) && all(extended.c, {5});
  // leaf 7 ebx: AVX512F 16, DQ 17, CD 28, BW 30, VL 31
  features.x86_64_v4 = features.x86_64_v3 && zmm && all(seven.b, {16, 17, 28, 30, 31});
  return features;
}
#else
CpuFeatures cpu_features() { return {}; }
#endif

}  // namespace piste
