#pragma once

#include "kernels/table.h"
#include "piste/isa.h"

namespace piste {

/// The kernels of the active ISA for T (float or double).
template <class T>
const kernels::Table<T>& kernel_table();

}  // namespace piste
