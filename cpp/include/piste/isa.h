#pragma once

#include <string>
#include <vector>

namespace piste {

/// Name of the instruction set that kernels run on: "baseline", "avx2", "avx512", "neon".
/// The first call decides: the value of PISTE_ISA, else the best that this CPU can run.
/// Throws ArgumentError where PISTE_ISA names one that is unknown or cannot run here.
std::string active_isa();

/// Those that were built and that this CPU can run, best first.
std::vector<std::string> available_isas();

}  // namespace piste
