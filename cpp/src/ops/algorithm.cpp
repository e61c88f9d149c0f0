#include "piste/algorithm.h"

#include <atomic>

namespace piste {
namespace {

std::atomic<Algorithm> chosen{Algorithm::automatic};

}  // namespace

Algorithm default_algorithm() { return chosen.load(std::memory_order_relaxed); }
void set_default_algorithm(Algorithm algorithm) {
  chosen.store(algorithm, std::memory_order_relaxed);
}

}  // namespace piste
