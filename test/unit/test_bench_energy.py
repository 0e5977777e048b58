# SPDX-License-Identifier: Apache-2.0
"""Energy is what counters say, or not measured."""

from __future__ import annotations

import pytest

from sqil_ros.bench.energy.gpus import Gpus
from sqil_ros.bench.energy.meter import EnergyMeter
from sqil_ros.bench.energy.packages import Packages
from sqil_ros.bench.energy.rails import Rails


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
    packages = Packages(zones)
    put(zones, 'intel-rapl:0', 3_000_000)
    put(zones, 'intel-rapl:1', 1_500_000)
    put(zones, 'intel-rapl:0:0', 2_000_000)
    assert packages.joules() == pytest.approx(2.5)
    assert packages.joules() == 0.0


def test_a_counter_that_begins_anew_loses_nothing(zones):
    packages = Packages(zones)
    put(zones, 'intel-rapl:0', 500_000)
    assert packages.joules() == pytest.approx(8.5)


def test_a_counter_that_vanishes_is_no_energy(zones):
    packages = Packages(zones)
    (zones / 'intel-rapl:1' / 'energy_uj').unlink()
    assert packages.joules() is None


class Driver:
    """NVML with GPUs that have used so many millijoules; None for one that does not count."""

    def __init__(self, *used):
        self.used = list(used)

    def nvmlInit_v2(self):  # noqa: N802 - the driver's names
        return 0

    def nvmlDeviceGetCount_v2(self, count):  # noqa: N802
        count._obj.value = len(self.used)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, gpu):  # noqa: N802
        gpu._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu, used):  # noqa: N802
        found = self.used[gpu.value - 1]
        if found is None:
            return 3
        used._obj.value = found
        return 0


def test_gpus_are_added_up():
    driver = Driver(5_000, 70_000)
    gpus = Gpus(driver)
    driver.used = [5_500, 72_000]
    assert gpus.joules() == pytest.approx(2.5)
    assert gpus.joules() == 0.0


@pytest.mark.parametrize('used', [(), (None,), (1, None)])
def test_a_gpu_that_does_not_count_leaves_nothing_measured(used):
    assert Gpus(Driver(*used)).joules() is None


@pytest.fixture
def board(tmp_path):
    """A Jetson with two chips, one of which is not asked."""
    for chip, name in (('hwmon0', 'tmp451'), ('hwmon3', 'ina3221')):
        (tmp_path / chip).mkdir()
        (tmp_path / chip / 'name').write_text(f'{name}\n')
    for channel, rail in ((1, 'VDD_GPU_SOC'), (2, 'VDD_CPU_CV')):
        feed(tmp_path, channel, 20_000, 100)
        (tmp_path / 'hwmon3' / f'in{channel}_label').write_text(f'{rail}\n')
    (tmp_path / 'hwmon3' / 'in7_input').write_text('999\n')  # a sum of shunts, no rail
    return tmp_path


def feed(root, channel, millivolts, milliamperes):
    (root / 'hwmon3' / f'in{channel}_input').write_text(f'{millivolts}\n')
    (root / 'hwmon3' / f'curr{channel}_input').write_text(f'{milliamperes}\n')


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_power_of_rails_is_added_up_over_time(board):
    clock = Clock()
    rails = Rails(board, 1e6, clock)
    clock.now = 10.0
    assert rails.joules() == pytest.approx(2 * 2.0 * 10.0)
    feed(board, 1, 20_000, 300)  # from 4 to 8 watts within 5 seconds
    clock.now = 15.0
    assert rails.joules() == pytest.approx(6.0 * 5.0)
    assert rails.joules() == 0.0


def test_a_rail_that_feeds_all_is_the_board(board):
    feed(board, 3, 5_000, 1_000)
    (board / 'hwmon3' / 'in3_label').write_text('VDD_IN\n')
    clock = Clock()
    rails = Rails(board, 1e6, clock)
    clock.now = 2.0
    assert rails.joules() == pytest.approx(10.0)


def test_rails_are_read_while_nobody_asks(board):
    clock = Clock()
    rails = Rails(board, 1e-3, clock)
    clock.now = 1.0
    while rails._last[0] < 1.0:
        pass
    feed(board, 1, 0, 0)
    feed(board, 2, 0, 0)
    assert rails.joules() == pytest.approx(4.0), 'the fall took no time'


def test_rails_that_vanish_are_no_energy(board):
    rails = Rails(board, 1e6)
    (board / 'hwmon3' / 'curr1_input').unlink()
    assert rails.joules() is None


def test_a_meter_adds_up_what_counts_and_names_it(zones, tmp_path):
    driver = Driver(1_000)
    meter = EnergyMeter([Packages(zones), Gpus(driver), Rails(tmp_path / 'none')])
    assert meter.names == ['processor packages', 'NVIDIA GPUs']

    def work():
        put(zones, 'intel-rapl:0', 3_000_000)
        driver.used = [1_500]
        return 'done'

    put(zones, 'intel-rapl:1', 2_000_000)  # before the work, and not its own
    assert meter.metered(work) == ('done', pytest.approx(2.5))
    driver.used = [None]
    assert meter.joules() is None


def test_without_counters_nothing_is_measured(tmp_path):
    meter = EnergyMeter([Packages(tmp_path), Rails(tmp_path)])
    assert meter.names == [] and meter.joules() is None
