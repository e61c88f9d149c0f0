#pragma once
// The list of kernels as data: one Table per ISA and dtype, each family's entry points behind one
// pointer. Read by the dispatcher, the ops and the tests, so no kernel can exist untested.

#include "kernels/depthwise/depthwise.h"
#include "kernels/depthwise/planes.h"
#include "kernels/descent/descent.h"
#include "kernels/gemm/gemm.h"
#include "kernels/layout/layout.h"
#include "kernels/loss/loss.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/response.h"
#include "kernels/planes/planes.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/softmax/softmax.h"
#include "kernels/update/update.h"
#include "kernels/winograd/winograd.h"

namespace piste::kernels {

template <class T>
struct Table {
  const char* isa;
  int lanes;  // values of T in a vector
  const DepthwiseKernels<T>* depthwise;
  const DepthwisePlanesKernels<T>* depthwise_planes;
  const DescentKernels<T>* descent;
  const GemmKernels<T>* gemm;
  const LayoutKernels<T>* layout;
  const LossKernels<T>* loss;
  const MatmulKernels<T>* matmul;
  const NormKernels<T>* norm;
  const PlanesKernels<T>* planes;
  const PointwiseKernels<T>* pointwise;
  const PoolKernels<T>* pool;
  const ResponseKernels<T>* response;
  const SoftmaxKernels<T>* softmax;
  const UpdateKernels<T>* update;
  const WinogradKernels<T>* winograd;
};

}  // namespace piste::kernels
