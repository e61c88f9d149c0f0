#pragma once
// The list of kernels as data: one Table per ISA and dtype, each family's entry points behind one
// pointer. Read by the dispatcher, the ops and the tests, so no kernel can exist untested.

#include "kernels/layout/layout.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"

namespace piste::kernels {

template <class T>
struct Table {
  const char* isa;
  int lanes;  // values of T in a vector
  const LayoutKernels<T>* layout;
  const PointwiseKernels<T>* pointwise;
  const PoolKernels<T>* pool;
};

}  // namespace piste::kernels
