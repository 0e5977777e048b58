# SPDX-License-Identifier: Apache-2.0
"""Compile every kernel for a GPU that need not be there: ``python -m ... 90`` for an H200."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sqil_ros.quant.triton_kernels.decoder_parts import (
    add_norm,
    attend_one,
    gate,
    turn_and_store,
)
from sqil_ros.quant.triton_kernels.few_rows import few_rows
from sqil_ros.quant.triton_kernels.layout import WIDTHS
from sqil_ros.quant.triton_kernels.many_rows import many_rows
from sqil_ros.quant.triton_kernels.mixed_rows import mixed_rows
from sqil_ros.quant.triton_kernels.products import many_tile
from sqil_ros.quant.triton_kernels.round_rows import round_rows

_POINTERS = {
    **{f'{name}_at': '*bf16' for name in (
        'states', 'change', 'gain', 'normed', 'joined', 'cosine', 'sine', 'query', 'keys',
        'values', 'out',
    )},
    'x_at': '*bf16', 'y_at': '*bf16', 'bias_at': '*bf16', 'words_at': '*i32', 'scale_at': '*fp32',
    'zero_at': '*i8', 'places_at': '*i32', 'step_at': '*fp32', 'static_at': '*fp32',
    'seen_at': '*i8', 'codes_at': '*i8', 'tiles_at': '*i32', 'kept_at': '*bf16',
    **{f'words_{bits}_at': '*i32' for bits in WIDTHS},
}  # fmt: skip


class Variant(NamedTuple):
    """A kernel with its compile-time arguments.

    Attributes:
        name: for people.
        kernel: to compile.
        constants: compile-time arguments.
        pointers: where they differ from the usual.
        warps: of a program.
    """

    name: str
    kernel: Any
    constants: Mapping[str, Any]
    pointers: Mapping[str, str] = {}
    warps: int = 4


def variants() -> Iterator[Variant]:
    """Every kernel as it is launched."""
    for bits in WIDTHS:
        for grouped in (False, True)[: 1 + (bits == 3)]:  # where most is taken apart
            options = {'BITS': bits, 'HAS_ZERO': grouped, 'HAS_BIAS': True, 'GROUPED': grouped}
            words = 32 if grouped else 128
            yield Variant(
                f'few_rows {bits}', few_rows, options | {'OUTPUTS': 4, 'WORDS': words}, {}, 1
            )
            for codes in (False, True):
                tile = many_tile(280, bits, torch.bfloat16)
                constants = options | {'CODES': codes, 'HAS_PLACES': grouped} | tile
                pointers = {'x_at': '*i8'} if codes else {}
                yield Variant(f'many_rows {bits}', many_rows, constants, pointers)
    options = {'HAS_ZERO': False, 'HAS_BIAS': True, 'WORDS': 128}
    yield Variant('mixed_rows', mixed_rows, options, {}, 1)
    yield Variant('add_norm', add_norm, {'ADD': True, 'WIDTH': 4096}, {'epsilon': 'fp32'}, 8)
    heads = {'HEADS': 32, 'KEY_HEADS': 32, 'HALF': 64, 'LANES': 64}
    yield Variant('turn_and_store', turn_and_store, heads, {}, 1)
    heads = {'GROUP': 1, 'WIDTH': 128, 'LANES': 128, 'KEYS': 32}
    yield Variant('attend_one', attend_one, heads, {'scale': 'fp32'})
    yield Variant('gate', gate, {'BLOCK': 1024})
    for static in (False, True):
        constants = {'HIGHEST': 127, 'STATIC': static, 'COLUMNS': 2048}
        yield Variant('round_rows', round_rows, constants)


def compiled(variant: Variant, architecture: int) -> Any:
    """The kernel as Triton hands it to the driver.

    Args:
        variant: what to compile.
        architecture: compute capability without its point.
    """
    pointers = {**_POINTERS, **variant.pointers}
    kinds = {
        name: 'constexpr' if name in variant.constants else pointers.get(name, 'i32')
        for name in variant.kernel.arg_names
    }
    # As for the shapes of large models: every number and address a multiple of 16.
    even = {
        (index,): [['tt.divisibility', 16]]
        for index, kind in enumerate(kinds.values())
        if kind not in ('constexpr', 'fp32')
    }
    source = ASTSource(variant.kernel, kinds, dict(variant.constants), even)
    target = GPUTarget('cuda', architecture, 32)
    return triton.compile(source, target, {'num_warps': variant.warps, 'num_stages': 2})


def main() -> int:
    """Compile all and say how large each is."""
    for variant in variants():
        code = compiled(variant, int(sys.argv[1])).asm['cubin']
        print(f'{variant.name:12} {len(code):8} bytes')
    return 0


if __name__ == '__main__':
    sys.exit(main())
