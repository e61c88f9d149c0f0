#pragma once
// What decides how a product is cut. By measurement on Zen 3 (32 KB of L1, 512 KB of L2).

#include <cstdlib>

#include "piste/index.h"

namespace piste::matmul_blocks {

inline Index knob(const char* name, Index value) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : value;
}

// Bytes of a full panel of b: it stays in L1 while a block of a passes by it. It fixes the depth
// that is summed before c is touched.
inline const Index panel_bytes = knob("PB", 24) << 10;
// Bytes of a block of a, and of the panels of b that a task packs at a time: both stay in L2.
inline const Index a_bytes = knob("AB", 256) << 10, b_bytes = knob("BB", 128) << 10;
// Bytes of a block of c that is computed in scratch memory and stored transposed.
inline const Index c_bytes = knob("CB", 64) << 10;
// Panels that a task takes at most.
inline const Index block_panels = knob("NP", 16);
// Operands up to so many bytes are packed once for all tasks, where several need them.
inline const Index shared_bytes = knob("SHARED", 64) << 20;

// Up to so many rows b is read as it is: packing it would take longer than multiplying by it.
inline const Index dot_rows = knob("DOT", 8), stream_rows = knob("STREAM", 8);
// Vectors of depth below which a dot product is shorter than the sum of its lanes.
inline const Index dot_vectors = 4;
// Where both sides lie along the depth one must be transposed: from so many rows on the wider one
// may be, and c is stored as it comes.
inline const Index turned_rows = knob("TURN", 256);

// Flops of a task at least, and the tasks that are enough.
inline const Index task_work = knob("GRAIN", 1 << 19), most_tasks = knob("MANY", 16);
// Values that a pack task moves at least, and its rows.
inline const Index pack_values = 1 << 14, pack_rows = 16;

// A small c with much depth: so many parts of the depth are summed apart, then together.
inline const Index skinny_values = 1 << 12, skinny_depth = 1 << 12, skinny_parts = 8;

}  // namespace piste::matmul_blocks
