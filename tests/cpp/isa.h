#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "check.h"
#include "piste/isa.h"

namespace piste::test {

/// What a program returns that tests the instruction set in its first argument, by `all`: 77 where
/// this CPU does not run it.
template <class All>
int run_on_isa(int argc, char** argv, All all) {
  const std::string isa = argc > 1 ? argv[1] : "";
  const std::vector<std::string> here = available_isas();
  if (std::find(here.begin(), here.end(), isa) == here.end()) {
    std::fprintf(stderr, "this CPU does not run '%s'\n", isa.c_str());
    return 77;
  }
  EXPECT(active_isa() == isa);
  all();
  return failures != 0;
}

}  // namespace piste::test
