// SPDX-License-Identifier: Apache-2.0
// Which instruction set computes.
#include <string.h>

#ifdef SQIL_X86
#include <cpuid.h>
#endif

#include <atomic>

#include "kernels.h"

namespace sqil {
namespace {

#ifdef SQIL_X86
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

// Compilers have no common name for it.
bool has_avx_vnni() {
  unsigned eax = 0, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

// Best first; null where the machine lacks it.
const Kernels *const *available() {
  static const Kernels *const tables[] = {
#ifdef SQIL_X86
      has_avx512_vnni() && __builtin_cpu_supports("avx512bf16") ? &kAvx512Bf16 : nullptr,
      has_avx512_vnni() ? &kAvx512Vnni : nullptr,
      has_avx512() ? &kAvx512 : nullptr,
      has_avx2() && has_avx_vnni() ? &kAvxVnni : nullptr,
      has_avx2() ? &kAvx2 : nullptr,
#endif
      &kPortable,
  };
  return tables;
}

const Kernels *find(const char *name) {
  for (const Kernels *const *table = available();; ++table) {
    if (*table && (!name || !strcmp((*table)->name, name))) return *table;
    if (*table == &kPortable) return nullptr;
  }
}

std::atomic<const Kernels *> chosen{nullptr};

}  // namespace

const Kernels &kernels() {
  const Kernels *table = chosen.load(std::memory_order_acquire);
  if (!table) chosen.store(table = find(nullptr), std::memory_order_release);
  return *table;
}

}  // namespace sqil

const char *sqil_level(void) { return sqil::kernels().name; }

int32_t sqil_choose_level(const char *name) {
  const sqil::Kernels *table = sqil::find(name);
  if (!table) return -1;
  sqil::chosen.store(table, std::memory_order_release);
  return 0;
}
