# SPDX-License-Identifier: Apache-2.0
"""The structures of ``native/engine.h``; field for field, in its order."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_void_p
from typing import Any, ClassVar

INTERFACE = 10

_Fields = list[tuple[str, Any]]


class Linear(Structure):
    """``sqil_linear``."""

    _fields_: ClassVar[_Fields] = [
        ('tiles', c_void_p),
        ('scale', c_void_p),
        ('zero', c_void_p),
        ('bias', c_void_p),
        ('rows', c_int32),
        ('columns', c_int32),
        ('bits', c_int32),
        ('groups', c_int32),
        ('input_bits', c_int32),
        ('input_step', c_float),
        ('prompt_only', c_int32),
        ('places', c_void_p),
        ('next', c_void_p),
    ]


class Norm(Structure):
    """``sqil_norm``."""

    _fields_: ClassVar[_Fields] = [('weight', c_void_p), ('bias', c_void_p)]


class DecoderLayer(Structure):
    """``sqil_decoder_layer``."""

    _fields_: ClassVar[_Fields] = [
        ('before', Norm),
        ('between', Norm),
        ('query', Linear),
        ('key', Linear),
        ('value', Linear),
        ('output', Linear),
        ('gate', Linear),
        ('up', Linear),
        ('down', Linear),
    ]


class ActionHead(Structure):
    """``sqil_action_head``."""

    _fields_: ClassVar[_Fields] = [
        ('before', Norm),
        ('into', Linear),
        ('block_norm', Norm * 2),
        ('block', Linear * 2),
        ('after', Norm),
        ('out', Linear),
        ('epsilon', c_float),
    ]


class Decoder(Structure):
    """``sqil_decoder``."""

    _fields_: ClassVar[_Fields] = [
        ('layers', POINTER(DecoderLayer)),
        ('bin_words', c_void_p),
        ('stop_word', c_void_p),
        ('cosine', c_void_p),
        ('sine', c_void_p),
        ('norm', Norm),
        ('head', Linear),
        ('action_head', POINTER(ActionHead)),
        ('layer_count', c_int32),
        ('width', c_int32),
        ('heads', c_int32),
        ('key_heads', c_int32),
        ('head_width', c_int32),
        ('capacity', c_int32),
        ('answers', c_int32),
        ('first_token', c_int32),
        ('median', c_int32),
        ('memory_bits', c_int32),
        ('epsilon', c_float),
    ]


class EncoderLayer(Structure):
    """``sqil_encoder_layer``."""

    _fields_: ClassVar[_Fields] = [
        ('before', Norm),
        ('between', Norm),
        ('query', Linear),
        ('key', Linear),
        ('value', Linear),
        ('output', Linear),
        ('up', Linear),
        ('down', Linear),
        ('attention_gain', c_void_p),
        ('mlp_gain', c_void_p),
    ]


class Encoder(Structure):
    """``sqil_encoder``."""

    _fields_: ClassVar[_Fields] = [
        ('layers', POINTER(EncoderLayer)),
        ('patch', Linear),
        ('prefix', c_void_p),
        ('positions', c_void_p),
        ('layer_count', c_int32),
        ('width', c_int32),
        ('heads', c_int32),
        ('prefix_count', c_int32),
        ('first_channel', c_int32),
        ('gelu_tanh', c_int32),
        ('epsilon', c_float),
    ]


class Vision(Structure):
    """``sqil_vision``."""

    _fields_: ClassVar[_Fields] = [
        ('encoders', Encoder * 2),
        ('projector', Linear * 3),
        ('proprio', Linear * 2),
        ('cameras', c_int32),
        ('image_side', c_int32),
        ('patch_side', c_int32),
        ('merge', c_int32),
    ]


def array_of(kind: type[Structure], values: list[Any]) -> Any:
    """A C array of structures."""
    return (kind * len(values))(*values)


SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    'sqil_interface': (c_int32, []),
    'sqil_level': (ctypes.c_char_p, []),
    'sqil_choose_level': (c_int32, [ctypes.c_char_p]),
    'sqil_tile_words': (ctypes.c_int64, [c_int32] * 3),
    'sqil_tiles_from_rows': (None, [c_void_p, *[c_int32] * 3, c_void_p]),
    'sqil_rows_from_tiles': (None, [c_void_p, *[c_int32] * 3, c_void_p]),
    'sqil_tiles_from_floats': (None, [c_void_p, *[c_int32] * 3, c_void_p]),
    'sqil_multiply': (
        None,
        [POINTER(Linear), c_void_p, ctypes.c_int64, c_int32, c_void_p, ctypes.c_int64, c_int32],
    ),
    'sqil_read': (ctypes.c_uint32, [c_void_p, ctypes.c_int64, c_int32]),
    'sqil_step_new': (c_void_p, [POINTER(Vision), POINTER(Decoder), c_int32]),
    'sqil_step_free': (None, [c_void_p]),
    'sqil_step_see': (None, [c_void_p] * 3),
    'sqil_step_decode': (c_int32, [c_void_p, c_void_p, c_int32, c_void_p]),
    'sqil_step_plan': (c_int32, [c_void_p, c_void_p, c_int32, c_void_p]),
    'sqil_step_peek': (None, [c_void_p] * 4),
    'sqil_step_seconds': (None, [c_void_p] * 3),
    'sqil_step_bytes': (ctypes.c_int64, [c_void_p]),
}
