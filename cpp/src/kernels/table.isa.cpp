#include "kernels/table.h"

#define PISTE_STRING(name) PISTE_STRING_(name)
#define PISTE_STRING_(name) #name

namespace piste::PISTE_ISA {

namespace {
template <class T>
constexpr int lanes = PISTE_VECTOR_BYTES / sizeof(T);
}

// Addresses only: these are constants, so nothing runs before main() on a CPU without this ISA.
extern const kernels::Table<float> table_f32;
const kernels::Table<float> table_f32{PISTE_STRING(PISTE_ISA),
                                      lanes<float>,
                                      &depthwise_f32,
                                      &depthwise_planes_f32,
                                      &descent_f32,
                                      &gemm_f32,
                                      &layout_f32,
                                      &loss_f32,
                                      &matmul_f32,
                                      &norm_f32,
                                      &planes_f32,
                                      &pointwise_f32,
                                      &pool_f32,
                                      &response_f32,
                                      &softmax_f32,
                                      &update_f32,
                                      &winograd_f32};
extern const kernels::Table<double> table_f64;
const kernels::Table<double> table_f64{PISTE_STRING(PISTE_ISA),
                                       lanes<double>,
                                       &depthwise_f64,
                                       &depthwise_planes_f64,
                                       &descent_f64,
                                       &gemm_f64,
                                       &layout_f64,
                                       &loss_f64,
                                       &matmul_f64,
                                       &norm_f64,
                                       &planes_f64,
                                       &pointwise_f64,
                                       &pool_f64,
                                       &response_f64,
                                       &softmax_f64,
                                       &update_f64,
                                       &winograd_f64};

}  // namespace piste::PISTE_ISA
