"""Energy sensors: files of the kernel's form in a folder of the test's own, a command, and what is made of them."""

import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import energy
from hakd.evaluation.energy import COLUMNS, energy_columns

WAIT_S = 0.15


def zone(root, name: str, label: str, uj: int, limit: int = 262_143_328_850):
    """A power zone of RAPL."""
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    for file, text in (("name", label), ("energy_uj", uj), ("max_energy_range_uj", limit)):
        (folder / file).write_text(f"{text}\n")
    return folder / "energy_uj"


def rail(root, number: int, label: str, mv: int, ma: int, device: str = "1-0040"):
    """A channel of an INA3221."""
    folder = root / "sys/bus/i2c/drivers/ina3221" / device / "hwmon/hwmon3"
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"in{number}_label": label, f"in{number}_input": mv, f"curr{number}_input": ma}
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    return folder / f"curr{number}_input"


def test_rapl_counts_packages_and_memory_and_nothing_twice(tmp_path):
    counters = [
        zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:0:1", "dram", 500_000),
        zone(tmp_path, "intel-rapl:1", "package-1", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
    ]

    def work():
        for counter, more in zip(counters, (2_000_000, 7, 250_000, 1_000_000, 9), strict=True):
            counter.write_text(f"{int(counter.read_text()) + more}\n")

    sensor = energy.energy_sensor({}, str(tmp_path))
    joules, seconds = sensor.energy_of(work)
    assert (sensor.name, joules) == ("rapl", pytest.approx(3.25)) and 0 < seconds < 1


@given(limit=st.integers(1000, 2**40), start=st.floats(0, 1), spent=st.floats(0, 0.999))
def test_a_counter_that_wraps_around_counts_on(tmp_path_factory, limit, start, spent):
    root = tmp_path_factory.mktemp("rapl")
    before, more = int(start * (limit - 1)), int(spent * limit)
    counter = zone(root, "intel-rapl:0", "package-0", before, limit)
    joules, _ = energy.Rapl(str(root)).energy_of(lambda: counter.write_text(f"{(before + more) % limit}\n"))
    assert joules == pytest.approx(more / 1e6)


@pytest.mark.parametrize(
    ("label", "text"), [("package-0", "not a number"), ("package-0", ""), ("core", "5"), ("psys", "5")]
)
def test_what_cannot_be_read_is_no_sensor(tmp_path, label, text):
    zone(tmp_path, "intel-rapl:0", label, 0).write_text(text)
    assert energy.energy_sensor({}, str(tmp_path)) is None


def test_a_counter_that_only_root_may_read_is_no_sensor(tmp_path):
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    counter.unlink()
    counter.mkdir()  # reading fails for root too
    assert energy.energy_sensor({}, str(tmp_path)) is None


def test_a_power_monitor_is_integrated_over_the_work(tmp_path):
    rail(tmp_path, 2, "VDD_CPU", 5000, 10_000)  # part of the input
    current = rail(tmp_path, 1, "VDD_IN", 5000, 1000)
    sensor = energy.energy_sensor({}, str(tmp_path))

    def work():
        time.sleep(WAIT_S)
        current.write_text("3000\n")
        time.sleep(WAIT_S)

    before = threading.active_count()
    joules, seconds = sensor.energy_of(work)
    assert sensor.name == "ina3221" and len(sensor.rails) == 1 and seconds >= 2 * WAIT_S
    assert 5 * seconds < joules < 15 * seconds
    assert joules == pytest.approx(10 * seconds, rel=0.35)
    assert threading.active_count() == before


def test_rails_without_an_input_rail_are_added(tmp_path):
    for number, (label, ma) in enumerate(
        (("VDD_GPU_SOC", 100), ("VDD_CPU_CV", 200), ("VIN_SYS_5V0", 300)), 1
    ):
        rail(tmp_path, number, label, 10_000, ma)
    rail(tmp_path, 1, "VDDQ", 10_000, 400, "1-0041")
    assert energy.energy_sensor({}, str(tmp_path)).watts() == pytest.approx(10.0)


def test_a_sensor_that_goes_away_under_way_is_an_error(tmp_path):
    current = rail(tmp_path, 1, "VDD_IN", 5000, 1000)
    sensor = energy.energy_sensor({}, str(tmp_path))

    def work():
        current.unlink()
        time.sleep(WAIT_S)

    with pytest.raises(ValueError, match="invalid literal"):
        sensor.energy_of(work)


def test_a_command_that_prints_joules_or_watts(tmp_path):
    clock = f"{sys.executable} -c 'import time; print(7 * time.monotonic())'"
    sensor = energy.energy_sensor({"command": clock, "unit": "J"}, str(tmp_path))
    joules, seconds = sensor.energy_of(lambda: time.sleep(0.5))
    assert sensor.name == "command" and joules == pytest.approx(3.5, abs=1.0) and seconds >= 0.5
    constant = energy.energy_sensor({"command": "echo 4.5 W", "unit": "W"}, str(tmp_path))
    joules, seconds = constant.energy_of(lambda: time.sleep(0.1))
    assert joules == pytest.approx(4.5 * seconds)
    for command, problem in (
        ("false", "exit status 1"),
        ("echo none", "could not convert"),
        ("/no/such", "No such"),
    ):
        with pytest.raises(Exception, match=problem):
            energy.energy_sensor({"command": command})


READINGS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1, max_size=8)


@given(READINGS, st.floats(0, 5), st.floats(0.1, 5))
def test_the_integral_is_that_of_lines_between_readings(readings, start, length):
    readings = sorted({round(at, 3): watts for at, watts in readings}.items())
    at, watts = zip(*readings, strict=True)
    grid = np.union1d(
        np.linspace(start, start + length, 7), [one for one in at if start < one < start + length]
    )
    expected = np.trapezoid(np.interp(grid, at, watts), grid)
    assert energy.integral(readings, start, start + length) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_bursts_hold_whole_calls_and_the_power_at_rest():
    class Meter:
        """Ten watts at work and four at rest."""

        def energy_of(self, work):
            before, start = len(made), time.monotonic()
            work()
            seconds = time.monotonic() - start
            return seconds * (10 if len(made) > before else 4), seconds

    made: list[int] = []

    def call():
        made.append(1)
        time.sleep(0.002)

    bursts = energy.energy_bursts(Meter(), call, 0.02)
    assert len(bursts) == energy.ENERGY_BURSTS and sum(one["calls"] for one in bursts) == len(made)
    for one in bursts:
        assert one["calls"] >= energy.LEAST_CALLS and one["wall_ns"] >= 0.02e9
        assert one["joules"] == pytest.approx(10e-9 * one["wall_ns"]) and one["idle_w"] == pytest.approx(4)


def test_the_columns_are_mean_interval_and_power_at_rest():
    bursts = [{"calls": 10, "wall_ns": 10**9, "joules": joules, "idle_w": 2.0} for joules in (0.9, 1.0, 1.1)]
    found = energy_columns(bursts)
    assert found["energy_mj"] == pytest.approx(100) and found["idle_w"] == 2.0
    assert found["energy_low_mj"] == pytest.approx(100 - 4.303 * 10 / 3**0.5, rel=1e-3)
    assert found["energy_high_mj"] == pytest.approx(100 + 4.303 * 10 / 3**0.5, rel=1e-3)
    assert energy_columns(None) == energy_columns([]) == dict.fromkeys(COLUMNS)
