# SPDX-License-Identifier: Apache-2.0
"""Energy is what counters say, or not measured."""

from __future__ import annotations

import pytest

from sqil_ros.bench.energy import EnergyMeter


@pytest.fixture
def zones(tmp_path):
    for name in ('intel-rapl:0', 'intel-rapl:1', 'intel-rapl:0:0'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'energy_uj').write_text('1000000\n')
        (tmp_path / name / 'max_energy_range_uj').write_text('9000000\n')
    return tmp_path


def put(zones, name, microjoules):
    (zones / name / 'energy_uj').write_text(f'{microjoules}\n')


def test_packages_are_added_up_and_what_lies_in_them_is_not(zones):
    meter = EnergyMeter(zones)
    put(zones, 'intel-rapl:0', 3_000_000)
    put(zones, 'intel-rapl:1', 1_500_000)
    put(zones, 'intel-rapl:0:0', 2_000_000)
    assert meter.works and meter.joules() == pytest.approx(2.5)
    assert meter.joules() == 0.0


def test_a_counter_that_begins_anew_loses_nothing(zones):
    meter = EnergyMeter(zones)
    put(zones, 'intel-rapl:0', 500_000)
    assert meter.joules() == pytest.approx(8.5)


def test_without_counters_nothing_is_measured(tmp_path):
    meter = EnergyMeter(tmp_path)
    assert not meter.works and meter.joules() is None


def test_a_counter_that_vanishes_is_no_energy(zones):
    meter = EnergyMeter(zones)
    (zones / 'intel-rapl:1' / 'energy_uj').unlink()
    assert meter.joules() is None
