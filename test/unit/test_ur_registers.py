# SPDX-License-Identifier: Apache-2.0
"""Inputs have one owner, keep their values, and the watchdog listens to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sqil_ros.sim.ur_controller.fields import INPUT_INT
from sqil_ros.sim.ur_controller.registers import IN_USE, NOT_FOUND, Registers
from sqil_ros.sim.ur_controller.rtde_protocol import FieldType
from sqil_ros.sim.ur_controller.signals import Signals
from sqil_ros.sim.ur_controller.watchdog import Watchdog

SOME = st.lists(st.sampled_from(INPUT_INT[:6]), min_size=1, unique=True)


@given(SOME, SOME)
def test_no_input_has_two_owners(first, second):
    registers, one, two = Registers(), object(), object()
    assert registers.claim(first, one) == [FieldType.INT32] * len(first)
    verdict = registers.claim(second, two)
    assert verdict == [IN_USE if n in first else FieldType.INT32 for n in second]
    # All or nothing: after a refusal the first owner may still take the rest.
    if IN_USE in verdict:
        assert IN_USE not in registers.claim(second, one)
    registers.release(one)
    registers.release(two)
    assert IN_USE not in registers.claim(first, two)


def test_an_owner_may_claim_again_and_unknown_names_are_told():
    registers, owner = Registers(), object()
    name = INPUT_INT[0]
    assert registers.claim([name], owner) == registers.claim([name], owner)
    assert registers.claim(['nothing', name], object()) == [NOT_FOUND, IN_USE]


def test_values_outlive_their_writer():
    registers, owner = Registers(), object()
    registers.claim([INPUT_INT[0]], owner)
    registers.write({INPUT_INT[0]: 24}, 1.0)
    registers.release(owner)
    assert registers.inputs[INPUT_INT[0]] == 24


@given(st.floats(1.0, 100.0), st.lists(st.floats(0.001, 0.5), max_size=20))
def test_the_watchdog_trips_at_the_first_gap_that_is_too_long(frequency, gaps):
    registers, watchdog, now = Registers(), Watchdog(), 10.0
    watchdog.arm(INPUT_INT[0], frequency, now)
    for gap in gaps:
        now += gap
        expected = now - (now - gap) > 1.0 / frequency
        assert watchdog.expired(registers, now) is expected
        if expected:
            break
        registers.write({INPUT_INT[0]: 0}, now)
    # It disarms itself, so one silence is one trip.
    tripped = watchdog.trips
    if tripped:
        assert not watchdog.expired(registers, now + 100.0)
    assert tripped == watchdog.trips <= 1


def test_arming_forgives_silence_before_it_and_zero_disarms():
    registers, watchdog = Registers(), Watchdog()
    watchdog.arm(INPUT_INT[0], 10.0, 5.0)
    assert not watchdog.expired(registers, 5.05)
    watchdog.arm(INPUT_INT[0], 0.0, 5.0)
    assert not watchdog.expired(registers, 1e6)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_masks_decide_which_outputs_change(first_mask, first, second_mask, second):
    signals = Signals()
    for mask, value in ((first_mask, first), (second_mask, second)):
        signals.apply({'standard_digital_output_mask': mask, 'standard_digital_output': value})
    assert signals.digital == (first & first_mask & ~second_mask) | (second & second_mask)


def test_the_slider_keeps_to_its_range():
    signals = Signals()
    signals.apply({'speed_slider_mask': 1, 'speed_slider_fraction': 0.4})
    signals.apply({'speed_slider_mask': 0, 'speed_slider_fraction': 0.9})
    signals.apply({'speed_slider_mask': 1, 'speed_slider_fraction': 1.5})
    signals.apply({'speed_slider_mask': 1, 'speed_slider_fraction': float('nan')})
    assert signals.slider == 0.4
