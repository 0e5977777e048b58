# SPDX-License-Identifier: Apache-2.0
"""Low-bit products of other libraries; none is a dependency, each takes part where installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sqil_ros.bench.contestant import Contestant, Maker, copies
from sqil_ros.bench.ggml_peer import PACKAGE, ggml
from sqil_ros.bench.shapes import Shape

_GROUP = 128  # inputs that share a scale; the usual choice of these libraries


def onnx_runtime(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """MatMulNBits of ONNX Runtime at its fastest: 8-bit inputs (accuracy_level 4)."""
    import onnx
    import onnxruntime

    groups = shape.inputs // _GROUP
    size = shape.weights // 2 + 4 * shape.outputs * groups
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()

    def session() -> Any:
        codes = np.random.randint(0, 256, (shape.outputs, groups, _GROUP // 2), np.uint8)
        scales = np.full(shape.outputs * groups, 0.01, np.float32)
        node = onnx.helper.make_node(
            'MatMulNBits', ['x', 'codes', 'scales'], ['y'], domain='com.microsoft',
            K=shape.inputs, N=shape.outputs, bits=4, block_size=_GROUP, accuracy_level=4,
        )  # fmt: skip
        graph = onnx.helper.make_graph(
            [node],
            'product',
            [onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, tuple(x.shape))],
            [onnx.helper.make_tensor_value_info(
                'y', onnx.TensorProto.FLOAT, (len(x), shape.outputs)
            )],
            [onnx.numpy_helper.from_array(codes, 'codes'),
             onnx.numpy_helper.from_array(scales, 'scales')],
        )  # fmt: skip
        versions = [onnx.helper.make_opsetid('', 17), onnx.helper.make_opsetid('com.microsoft', 1)]
        model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=8)
        providers = ['CPUExecutionProvider']
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers)

    sessions, inputs = [session() for _ in range(copies(size, beyond))], {'x': x.numpy()}
    return Contestant(lambda turn: sessions[turn % len(sessions)].run(None, inputs)[0], size)


def openvino(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """A matrix product of OpenVINO with compressed weights, its own choice of input precision."""
    import openvino as ov
    from openvino import opset13 as ops

    groups = shape.inputs // _GROUP
    size = shape.weights // 2 + 4 * shape.outputs * groups
    core = ov.Core()
    core.set_property('CPU', {'INFERENCE_NUM_THREADS': torch.get_num_threads()})

    def compiled() -> Any:
        pairs = np.random.randint(0, 256, (shape.outputs, groups, _GROUP // 2), np.uint8)
        codes = ov.Tensor(pairs, ov.Shape([shape.outputs, groups, _GROUP]), ov.Type.u4)
        whole = ops.convert(ov.op.Constant(codes), 'f32')
        centred = ops.subtract(whole, ops.constant(np.float32(8.0)))
        scales = ops.constant(np.full((shape.outputs, groups, 1), 0.01, np.float32))
        weight = ops.reshape(
            ops.multiply(centred, scales), ops.constant([shape.outputs, shape.inputs]), False
        )
        given = ops.parameter(list(x.shape), np.float32)
        product = ops.matmul(given, weight, False, True)
        return core.compile_model(ov.Model([product], [given]), 'CPU')

    requests = [compiled().create_infer_request() for _ in range(copies(size, beyond))]
    given = x.numpy()
    return Contestant(lambda turn: requests[turn % len(requests)].infer([given])[0], size)


def bits_and_bytes(shape: Shape, x: Tensor, beyond: int) -> Contestant:
    """The 4-bit layer of bitsandbytes (NF4, a scale for 64 weights) with inputs in bfloat16."""
    import bitsandbytes

    group = 64
    size = shape.weights // 2 + 4 * shape.weights // group
    half = x.bfloat16()

    def layer() -> Any:
        made = bitsandbytes.nn.Linear4bit(
            shape.inputs, shape.outputs, bias=False, compute_dtype=torch.bfloat16,
            compress_statistics=False, quant_type='nf4',
        )  # fmt: skip
        return made.to('cpu').eval().requires_grad_(False)

    layers = [layer() for _ in range(copies(size, beyond))]

    def work(turn: int) -> object:
        with torch.inference_mode():
            return layers[turn % len(layers)](half)

    return Contestant(work, size)


PEERS: Mapping[str, Maker] = {
    'onnxruntime int4': onnx_runtime,
    'openvino int4': openvino,
    'bitsandbytes nf4': bits_and_bytes,
    'ggml q4_0': ggml,
}

_NEEDS = {
    'onnxruntime int4': ('onnx', 'onnxruntime'),
    'openvino int4': ('openvino',),
    'bitsandbytes nf4': ('bitsandbytes',),
    'ggml q4_0': (PACKAGE,),
}


def peer_refusal(name: str, shape: Shape) -> str:
    """Why a peer cannot take part; empty if it can."""
    if missing := [module for module in _NEEDS[name] if importlib.util.find_spec(module) is None]:
        return f'{" and ".join(missing)} not installed'
    if shape.inputs % _GROUP:
        return f'it is asked for groups of {_GROUP} inputs, which do not divide {shape.inputs}'
    return ''
