// SPDX-License-Identifier: Apache-2.0
// One instruction set's kernels: SQIL_TABLE names the table, SQIL_NAME the set.
#include "kernels.h"

#include "attention.h"
#include "codes_product.h"
#include "halves_product.h"
#include "product.h"
#include "rows.h"

namespace sqil {

extern const Kernels SQIL_TABLE = {
    SQIL_NAME,       kPanel, kRows,        multiply, normalize, apply_gelu, apply_gelu_tanh,
    apply_gate,      add,    round_inputs, rotate,   attend,    remember,   read,
#ifdef __AVX2__
    kWidestCode,     round_codes, split_codes, multiply_codes,
#else
    0,               nullptr,     nullptr,     nullptr,
#endif
#ifdef __AVX512BF16__
    round_halves,    multiply_halves,
#else
    nullptr,         nullptr,
#endif
};

}  // namespace sqil
