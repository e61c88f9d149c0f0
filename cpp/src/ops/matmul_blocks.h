#pragma once
// What decides how a product is cut. By measurement on Zen 3 (32 KB of L1, 512 KB of L2).

#include "piste/index.h"

namespace piste::matmul_blocks {

// Bytes of a full panel of b: it stays in L1 while a block of a passes by it. It fixes the depth
// that is summed before c is touched.
inline constexpr Index panel_bytes = 24 << 10;
// Bytes of a block of a, and of the panels of b that a task packs at a time: both stay in L2.
inline constexpr Index a_bytes = 256 << 10, b_bytes = 128 << 10;
// Bytes of a block of c that is computed in scratch memory and stored transposed.
inline constexpr Index c_bytes = 64 << 10;
// Panels that a task takes at most.
inline constexpr Index block_panels = 16;
// Operands up to so many bytes are packed once for all tasks, where several need them.
inline constexpr Index shared_bytes = 64 << 20;

// Up to so many rows b is read as it is: packing it would take longer than multiplying by it.
inline constexpr Index dot_rows = 16, stream_rows = 12;
// Vectors of depth below which a dot product is shorter than the sum of its lanes.
inline constexpr Index dot_vectors = 4;
// Of so many vectors, more rows are multiplied as they are, if they stay in L2 as a block of a.
inline constexpr Index long_dot_vectors = 32, long_dot_rows = 96;
// Columns from which rows along the depth are packed.
inline constexpr Index packed_columns = 320;
// Where both sides lie along the depth one must be transposed: from so many rows on the wider one
// may be, and c is stored as it comes.
inline constexpr Index turned_rows = 256;

// Flops of a task at least, and the tasks that are enough.
inline constexpr Index task_work = (1 << 19), most_tasks = 16;
// Values that a pack task moves at least, and its rows.
inline constexpr Index pack_values = 1 << 14, pack_rows = 16;

// A small c with much depth: so many parts of the depth are summed apart, then together.
inline constexpr Index skinny_values = 1 << 12, skinny_depth = 1 << 12, skinny_parts = 8;

}  // namespace piste::matmul_blocks
