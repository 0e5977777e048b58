# SPDX-License-Identifier: Apache-2.0
"""Uploaded text: cut into programs whatever the pieces, and read without an interpreter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.sim.ur_controller.program_text import (
    MAX_PROGRAM_BYTES,
    MoveStatement,
    RegisterStatement,
    ScriptError,
    ScriptReader,
    SleepStatement,
)

CONTROL = """def rtde_control():
    global reg_offset_float = # float register offset
24
    global reg_offset_int = # int register offset
24
    def exec_move_path():
        textmsg("exec_move_path")
        # inject move path
\tsignal_async_progress(0)
\tmovel(p[-0.1,0.2,0.3,0,3.14,0],a=1.2,v=0.25,r=0)
\tsignal_async_progress(1)
\tmovej([0,-1.5,1.5,-1.5,-1.5,0],a=1.4,v=1.05,r=0.02)
    end
    movej(q, a=acceleration, v=velocity)
    textmsg("RTDE Control Script Loaded (14.02.2024-12:23)")
end
"""
CUSTOM = """def wave():
\twrite_output_integer_register(0 +24, 1)
\tmovej([0, 0, 0, 0, 0, 1e-3], a=2.0, v=1.0)
\tsleep(0.5)
\twrite_output_float_register(3, 2.5)
\tset_standard_digital_out(0, True)
\twrite_output_integer_register(0 +24, 2)
end
"""


def test_control_program_gives_offset_and_path():
    (program,) = ScriptReader().feed(CONTROL.encode())
    assert (program.name, program.is_control, program.offset) == ('rtde_control', True, 24)
    first, second = program.statements
    assert first == MoveStatement('movel', (-0.1, 0.2, 0.3, 0.0, 3.14, 0.0), True, 0.25, 1.2)
    assert second == MoveStatement('movej', (0, -1.5, 1.5, -1.5, -1.5, 0), False, 1.05, 1.4)


def test_control_program_without_a_path():
    text = '\n'.join(line for line in CONTROL.split('\n') if not line.startswith('\t'))
    (program,) = ScriptReader().feed(text.encode())
    assert program.is_control and program.statements == ()


def test_custom_script_keeps_what_is_understood():
    (program,) = ScriptReader().feed(CUSTOM.encode())
    assert not program.is_control
    assert program.statements == (
        RegisterStatement(24, 1.0, True),
        MoveStatement('movej', (0, 0, 0, 0, 0, 1e-3), False, 1.0, 2.0),
        SleepStatement(0.5),
        RegisterStatement(3, 2.5, False),
        RegisterStatement(24, 2.0, True),
    )


@given(
    st.lists(st.sampled_from([CONTROL, CUSTOM, 'sleep(0.1)\n', 'sec s():\nend\n']), max_size=5),
    st.lists(st.integers(1, 400), min_size=1),
)
def test_programs_do_not_depend_on_how_they_arrive(texts, cuts):
    stream = ''.join(texts).encode()
    whole = ScriptReader().feed(stream)
    reader, found, at, i = ScriptReader(), [], 0, 0
    while at < len(stream):
        piece = cuts[i % len(cuts)]
        found += reader.feed(stream[at : at + piece])
        at, i = at + piece, i + 1
    assert found == whole
    assert len(whole) == len(texts)


def test_secondary_programs_are_recognised():
    (program,) = ScriptReader().feed(b'sec tool():\n  sleep(0.1)\nend\n')
    assert program.secondary and program.name == 'tool'


@pytest.mark.parametrize('line', ['movej(q)', 'movel([1, 2])', 'sleep(t)', 'movej([a,0,0,0,0,0])'])
def test_arguments_that_are_not_numbers_are_refused(line):
    with pytest.raises(ScriptError, match='literal'):
        ScriptReader().feed(f'def p():\n  {line}\nend\n'.encode())


def test_a_program_without_end_is_cut_off():
    reader = ScriptReader()
    with pytest.raises(ScriptError, match='limit'):
        for _ in range(2 + MAX_PROGRAM_BYTES // 65536):
            reader.feed(b'def p():\n' + b'x' * 65536)
    assert reader.feed(b'sleep(1)\n')
