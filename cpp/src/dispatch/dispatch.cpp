#include "dispatch/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "dispatch/cpu.h"
#include "piste/errors.h"

namespace piste {

#define PISTE_DECLARE_TABLES(isa)                \
  namespace isa {                                \
  extern const kernels::Table<float> table_f32;  \
  extern const kernels::Table<double> table_f64; \
  }
PISTE_DECLARE_TABLES(baseline)
PISTE_DECLARE_TABLES(avx2)
PISTE_DECLARE_TABLES(avx512)
PISTE_DECLARE_TABLES(avx2x2)
PISTE_DECLARE_TABLES(neon)
#undef PISTE_DECLARE_TABLES

namespace {

struct Isa {
  const kernels::Table<float>* f32;
  const kernels::Table<double>* f64;
  bool runs_here;
  bool automatic;  // false: only on request
};

// No static in a function: a child forked while another thread makes one would wait for that thread
// for ever.

[[maybe_unused]] const CpuFeatures cpu = cpu_features();

/// Those that were built, best first.
const Isa built_isas[] = {
#ifdef PISTE_HAVE_avx512
    {&avx512::table_f32, &avx512::table_f64, cpu.x86_64_v4, true},
#endif
#ifdef PISTE_HAVE_avx2
    {&avx2::table_f32, &avx2::table_f64, cpu.x86_64_v3, true},
#endif
#ifdef PISTE_HAVE_neon
    {&neon::table_f32, &neon::table_f64, true, true},
#endif
#ifdef PISTE_HAVE_baseline
#if defined(__x86_64__)
    {&baseline::table_f32, &baseline::table_f64, cpu.x86_64_v2, true},
#else
    {&baseline::table_f32, &baseline::table_f64, true, true},
#endif
#endif
#ifdef PISTE_HAVE_avx2x2
    {&avx2x2::table_f32, &avx2x2::table_f64, cpu.x86_64_v3, false},
#endif
};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// What the user has said to run; empty where nothing.
std::string forced_isa() {
  const char* name = std::getenv("PISTE_ISA");
  return name ? name : "";
}

const Isa& choose() {
  const std::string forced = forced_isa();
  const bool automatic = forced.empty();
  for (const Isa& isa : built_isas)
    if (isa.runs_here && (automatic ? isa.automatic : forced == isa.f32->isa)) return isa;
  if (automatic)
    fail("isa", "this CPU runs none of the instruction sets that piste was built for; it needs ",
         "at least x86-64-v2 (SSE4.2)");
  fail("isa", "PISTE_ISA=", forced,
       " is unknown or cannot run on this CPU; available: ", join(available_isas()));
}

/// AVX2 under AVX-512, unless the user has said what to run. AVX2 has no half: SSE lacks FMA.
const Isa& choose_half(const Isa& whole) {
  if (!forced_isa().empty() || whole.f32->isa != std::string("avx512")) return whole;
  for (const Isa& isa : built_isas)
    if (isa.runs_here && isa.f32->isa == std::string("avx2")) return isa;
  return whole;
}

thread_local Vectors vectors_here = Vectors::whole;

std::atomic<const Isa*> active_whole{nullptr}, active_half{nullptr};  // until one is asked for

/// The first to be stored, if threads find them at the same time.
void store(std::atomic<const Isa*>& active, const Isa& isa) {
  const Isa* none = nullptr;
  active.compare_exchange_strong(none, &isa);
}

const Isa& active() {
  const std::atomic<const Isa*>& active =
      vectors_here == Vectors::whole ? active_whole : active_half;
  if (const Isa* isa = active.load(std::memory_order_relaxed)) return *isa;
  const Isa& whole = choose();
  store(active_half, choose_half(whole));
  store(active_whole, whole);
  return *active.load();
}

}  // namespace

VectorScope::VectorScope(Vectors vectors) : before_(vectors_here) { vectors_here = vectors; }
VectorScope::~VectorScope() { vectors_here = before_; }

template <>
const kernels::Table<float>& kernel_table<float>() {
  return *active().f32;
}
template <>
const kernels::Table<double>& kernel_table<double>() {
  return *active().f64;
}

std::string active_isa() { return active().f32->isa; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : built_isas)
    if (isa.runs_here) names.push_back(isa.f32->isa);
  return names;
}

}  // namespace piste
