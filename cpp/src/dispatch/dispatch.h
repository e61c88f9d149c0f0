#pragma once

#include "kernels/table.h"
#include "piste/isa.h"

namespace piste {

/// The kernels of the active ISA for T (float or double), or of the narrower one that a
/// VectorScope asks for on this thread.
template <class T>
const kernels::Table<T>& kernel_table();

/// Which vectors kernel_table() gives: the widest that the CPU has, or AVX2's on a CPU with AVX-512
/// where PISTE_ISA forces nothing.
enum class Vectors { whole, half };

/// While it lives, kernel_table() on this thread gives the kernels of these vectors.
class VectorScope {
 public:
  explicit VectorScope(Vectors vectors);
  ~VectorScope();
  VectorScope(const VectorScope&) = delete;
  VectorScope& operator=(const VectorScope&) = delete;

 private:
  Vectors before_;
};

}  // namespace piste
