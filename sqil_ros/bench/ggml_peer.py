# SPDX-License-Identifier: Apache-2.0
"""The 4-bit product of ggml, llama.cpp's library, out of the package llama-cpp-python."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sqil_ros.bench.contestant import Contestant, copies
from sqil_ros.bench.shapes import Shape
from sqil_ros.types import Array

PACKAGE = 'llama_cpp'
_F32, _Q4_0 = 0, 2
_GROUP, _BLOCK = 32, 18  # weights that share a scale, and bytes that they take
_REPACKED = b'CPU_REPACK'
_SCALE = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
_ROOM = 1 << 20  # bytes of a graph's descriptions, without numbers


class _Context(ctypes.Structure):
    """``ggml_init_params``."""

    _fields_ = (('mem_size', c_size_t), ('mem_buffer', c_void_p), ('no_alloc', c_bool))


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    'ggml_init': (c_void_p, [_Context]),
    'ggml_new_tensor_2d': (c_void_p, [c_void_p, c_int, c_int64, c_int64]),
    'ggml_mul_mat': (c_void_p, [c_void_p] * 3),
    'ggml_get_data': (c_void_p, [c_void_p]),
    'ggml_new_graph': (c_void_p, [c_void_p]),
    'ggml_build_forward_expand': (None, [c_void_p] * 2),
    'ggml_backend_tensor_set': (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    'ggml_backend_alloc_ctx_tensors': (c_void_p, [c_void_p] * 2),
    'ggml_backend_alloc_ctx_tensors_from_buft': (c_void_p, [c_void_p] * 2),
    'ggml_backend_graph_compute': (c_int, [c_void_p] * 2),
    'ggml_backend_reg_dev_get': (c_void_p, [c_void_p, c_size_t]),
    'ggml_backend_reg_get_proc_address': (c_void_p, [c_void_p, c_char_p]),
    'ggml_backend_buft_name': (c_char_p, [c_void_p]),
    'ggml_backend_cpu_init': (c_void_p, []),
    'ggml_backend_cpu_reg': (c_void_p, []),
    'ggml_backend_cpu_buffer_type': (c_void_p, []),
    'ggml_backend_cpu_set_n_threads': (None, [c_void_p, c_int]),
}


def ggml(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """Q4_0 with inputs rounded to 8 bits, its weights repacked for the processor where it can."""
    call = _functions()
    backend = call['ggml_backend_cpu_init']()
    call['ggml_backend_cpu_set_n_threads'](backend, torch.get_num_threads())
    buffers = _weight_buffers(call)
    size = shape.weights // _GROUP * _BLOCK
    rows = x.float().contiguous()

    def graph() -> tuple[int, Array]:
        stored, computed = (call['ggml_init'](_Context(_ROOM, None, True)) for _ in range(2))
        tensor = call['ggml_new_tensor_2d']
        weight = tensor(stored, _Q4_0, shape.inputs, shape.outputs)
        call['ggml_backend_alloc_ctx_tensors_from_buft'](stored, buffers)
        blocks = np.random.randint(0, 256, (size // _BLOCK, _BLOCK), np.uint8)
        blocks[:, :2] = _SCALE
        call['ggml_backend_tensor_set'](weight, blocks.ctypes.data, 0, size)
        given = tensor(computed, _F32, shape.inputs, len(rows))
        product = call['ggml_mul_mat'](computed, weight, given)
        made = call['ggml_new_graph'](computed)
        call['ggml_build_forward_expand'](made, product)
        call['ggml_backend_alloc_ctx_tensors'](computed, backend)
        call['ggml_backend_tensor_set'](given, rows.data_ptr(), 0, rows.numel() * 4)
        numbers = (ctypes.c_float * (len(rows) * shape.outputs)).from_address(
            call['ggml_get_data'](product)
        )
        return made, np.ctypeslib.as_array(numbers).reshape(len(rows), shape.outputs)

    graphs = [graph() for _ in range(copies(size, beyond))]

    def work(turn: int) -> Array:
        made, answer = graphs[turn % len(graphs)]
        call['ggml_backend_graph_compute'](backend, made)
        return answer

    return Contestant(work, size)


def _functions() -> dict[str, Callable[..., Any]]:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / 'lib'
    libraries = [
        ctypes.CDLL(str(folder / f'lib{name}.so'), ctypes.RTLD_GLOBAL)
        for name in ('ggml-base', 'ggml-cpu')
    ]
    found = {}
    for name, (answer, arguments) in _SIGNATURES.items():
        function = next(getattr(each, name) for each in libraries if hasattr(each, name))
        function.restype, function.argtypes = answer, arguments
        found[name] = function
    return found


def _weight_buffers(call: dict[str, Callable[..., Any]]) -> int:
    """The kind of memory whose weights are repacked, or the ordinary kind without one."""
    registry = call['ggml_backend_cpu_reg']()
    address = call['ggml_backend_reg_get_proc_address'](
        registry, b'ggml_backend_dev_get_extra_bufts'
    )
    kinds = ctypes.CFUNCTYPE(ctypes.POINTER(c_void_p), c_void_p)(address)(
        call['ggml_backend_reg_dev_get'](registry, 0)
    )
    for kind in kinds:
        if kind is None:
            break
        if call['ggml_backend_buft_name'](kind) == _REPACKED:
            return int(kind)
    ordinary: int = call['ggml_backend_cpu_buffer_type']()
    return ordinary
