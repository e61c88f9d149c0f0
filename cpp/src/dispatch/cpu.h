#pragma once

namespace piste {

/// What the CPU has and the operating system has switched on (XCR0).
struct CpuFeatures {
  bool x86_64_v2 = false;  // SSE4.2, POPCNT, SSSE3
  bool x86_64_v3 = false;  // AVX2, FMA, BMI1/2, F16C, LZCNT, MOVBE
  bool x86_64_v4 = false;  // AVX-512 F, BW, CD, DQ, VL
};

CpuFeatures cpu_features();

}  // namespace piste
