# SPDX-License-Identifier: Apache-2.0
"""RTDE on the wire: what is packed comes back, however the network cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.sim.ur_controller.fields import INPUTS, OUTPUTS
from sqil_ros.sim.ur_controller.rtde_protocol import (
    HEADER,
    FieldType,
    PackageReader,
    ProtocolError,
    Recipe,
    decode_names,
    decode_output_setup,
    encode_names,
    encode_output_setup,
    encode_package,
)

_SCALARS = {
    'd': st.floats(allow_nan=False),
    'Q': st.integers(0, 2**64 - 1),
    'I': st.integers(0, 2**32 - 1),
    'i': st.integers(-(2**31), 2**31 - 1),
    'B': st.integers(0, 255),
    '?': st.booleans(),
}
NAMES = st.lists(
    st.text('abcdefghijklmnopqrstuvwxyz_0123456789', min_size=1, max_size=20),
    max_size=12,
    unique=True,
)


@st.composite
def filled_recipes(draw):
    names = tuple(draw(NAMES))
    kinds = tuple(draw(st.sampled_from(list(FieldType))) for _ in names)
    values = {}
    for name, kind in zip(names, kinds, strict=True):
        scalar = _SCALARS[kind.letter]
        many = st.tuples(*[scalar] * kind.count)
        values[name] = draw(scalar if kind.count == 1 else many)
    return Recipe(draw(st.integers(1, 255)), names, kinds), values


@given(filled_recipes())
def test_a_package_unpacks_to_what_was_packed(filled):
    recipe, values = filled
    body = recipe.pack(values)
    assert len(body) == recipe.size
    assert recipe.unpack(body) == values


@given(filled_recipes(), st.integers(-3, 3).filter(bool))
def test_another_size_is_refused(filled, more):
    recipe, values = filled
    body = recipe.pack(values)
    wrong = body + b'\x00' * more if more > 0 else body[:more]
    with pytest.raises(ProtocolError):
        recipe.unpack(wrong)


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=10),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_the_reader_does_not_care_how_the_stream_is_cut(packages, cuts):
    stream = b''.join(encode_package(kind, body) for kind, body in packages)
    reader, found, at, i = PackageReader(), [], 0, 0
    while at < len(stream):
        piece = cuts[i % len(cuts)]
        found += reader.feed(stream[at : at + piece])
        at, i = at + piece, i + 1
    assert found == packages


@given(st.integers(0, HEADER.size - 1))
def test_a_package_shorter_than_its_header_is_refused(size):
    with pytest.raises(ProtocolError):
        PackageReader().feed(HEADER.pack(size, ord('U')))


@given(NAMES, st.floats(0.0, 1000.0))
def test_names_and_set_ups_come_back(names, frequency):
    assert decode_names(encode_names(names)) == tuple(names)
    assert decode_output_setup(encode_output_setup(frequency, names)) == (frequency, tuple(names))


def test_set_ups_that_are_not_text_are_refused():
    with pytest.raises(ProtocolError):
        decode_names(b'\xff\xfe,')
    with pytest.raises(ProtocolError):
        decode_output_setup(b'1234')


def test_every_field_starts_with_a_value_of_its_type():
    for fields in (OUTPUTS, INPUTS):
        recipe = Recipe(1, tuple(fields), tuple(fields.values()))
        zeros = {name: kind.zero for name, kind in fields.items()}
        assert recipe.unpack(recipe.pack(zeros)) == zeros
