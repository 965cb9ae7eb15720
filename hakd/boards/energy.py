"""Energy sensors of a board, and the energy of one inference: joules that were measured, never an estimate.

One file for Python 3.8 and later, standard library only; it imports nothing of hakd and travels with worker.py. What is
read: the processor's own counters (RAPL, /sys/class/powercap), the power monitors of Jetson boards (INA3221), or a
command of the user's that prints joules or watts.
"""

from __future__ import annotations

import glob
import os
import shlex
import subprocess
import threading
import time

ENERGY_BURSTS = 5
LEAST_CALLS = 3
SAMPLE_S = 0.02  # between two readings of a power sensor
COMMAND_S = 10.0


def reading(path):
    """The text of a small file; None where it is missing or may not be read."""
    try:
        with open(path) as stream:
            return stream.read(256).strip()
    except (OSError, UnicodeDecodeError):
        return None


class Rapl:
    """Energy counters in microjoules, of all packages and of memory that is counted apart; they wrap around."""

    name = "rapl"

    def __init__(self, root):
        self.counters = []  # (path, range)
        for zone in sorted(glob.glob(os.path.join(root, "sys/class/powercap/intel-rapl:*"))):
            label = reading(os.path.join(zone, "name")) or ""
            path = os.path.join(zone, "energy_uj")
            # `core` and `uncore` are part of their package, `psys` holds the packages.
            if label.startswith("package") or label == "dram":
                limit, now = reading(os.path.join(zone, "max_energy_range_uj")), reading(path)
                if limit is not None and now is not None and limit.isdigit() and now.isdigit():
                    self.counters.append((path, int(limit)))

    def found(self):
        return bool(self.counters)

    def energy_of(self, work):
        """Joules and seconds that `work` takes. It must be over before a counter has wrapped around twice."""
        before, start = [int(reading(path) or "") for path, _ in self.counters], time.monotonic()
        work()
        after, end = [int(reading(path) or "") for path, _ in self.counters], time.monotonic()
        spent = 0
        for (_, limit), first, last in zip(self.counters, before, after):
            spent += last - first if last >= first else last - first + limit
        return spent / 1e6, end - start


class Power:
    """A sensor of power: readings while the work is done, joined by straight lines and integrated."""

    def energy_of(self, work):
        readings, done = [self.reading()], threading.Event()
        problems = []

        def sample():
            try:
                while not done.wait(SAMPLE_S):
                    readings.append(self.reading())
            except Exception as problem:
                problems.append(problem)

        sampler = threading.Thread(target=sample, daemon=True)
        start = time.monotonic()
        sampler.start()
        work()
        end = time.monotonic()
        done.set()
        sampler.join()
        readings.append(self.reading())
        if problems:
            raise problems[0]
        return integral(readings, start, end), end - start

    def watts(self):
        """The power now; of each kind of sensor."""
        raise NotImplementedError

    def reading(self):
        """Time in seconds and power in watts."""
        start = time.monotonic()
        watts = self.watts()
        return (start + time.monotonic()) / 2, watts


class Ina3221(Power):
    """Power monitors of Jetson boards: millivolts times milliamperes of the input rail, else of all rails."""

    name = "ina3221"

    def __init__(self, root):
        rails = []  # (label, path of the voltage, path of the current)
        for current in sorted(
            glob.glob(os.path.join(root, "sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/curr[123]_input"))
        ):
            folder, number = os.path.dirname(current), os.path.basename(current)[4]
            voltage = os.path.join(folder, f"in{number}_input")
            label = reading(os.path.join(folder, f"in{number}_label")) or ""
            if reading(voltage) and reading(current):
                rails.append((label, voltage, current))
        whole = [rail for rail in rails if rail[0].endswith("_IN")]  # VDD_IN: what the others are part of
        self.rails = whole or rails

    def found(self):
        return bool(self.rails)

    def watts(self):
        return sum(int(reading(v) or "") * int(reading(i) or "") for _, v, i in self.rails) / 1e6


class CommandPower(Power):
    """A command that prints watts."""

    def __init__(self, command):
        self.command, self.name = command, "command"

    def watts(self):
        return printed(self.command)


class CommandEnergy:
    """A command that prints the joules since some start of its own."""

    def __init__(self, command):
        self.command, self.name = command, "command"

    def energy_of(self, work):
        before, start = printed(self.command), time.monotonic()
        work()
        end = time.monotonic()
        return printed(self.command) - before, end - start


def printed(command):
    """The number that a command prints first."""
    done = subprocess.run(
        shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_S, check=True
    )
    return float(done.stdout.split()[0])


def integral(readings, start, end):
    """Area under straight lines between (time, value) pairs, level beyond the ends, from `start` to `end`."""
    inside = [one for one in readings if start < one[0] < end]

    def value(at):
        before = [one for one in readings if one[0] <= at]
        after = [one for one in readings if one[0] >= at]
        if not before or not after:
            return (before or after)[-1 if before else 0][1]
        (t0, v0), (t1, v1) = before[-1], after[0]
        return v0 if t1 == t0 else v0 + (v1 - v0) * (at - t0) / (t1 - t0)

    points = [(start, value(start)), *inside, (end, value(end))]
    return sum((t1 - t0) * (v0 + v1) / 2 for (t0, v0), (t1, v1) in zip(points, points[1:]))


def energy_sensor(settings, root="/"):
    """The sensor that the settings name, else the first that is there and may be read; None where there is none.

    Raises whatever a command of the user's fails with: it was asked for.
    """
    if settings.get("command"):
        kind = CommandPower if settings.get("unit") == "W" else CommandEnergy
        printed(settings["command"])
        return kind(settings["command"])
    for sensor in (Rapl(root), Ina3221(root)):
        if sensor.found():
            return sensor
    return None


def energy_bursts(sensor, call, least_s, step=lambda: None):
    """Bursts of at least `least_s` seconds of calls, each after as long a pause: calls, ns, joules, watts at rest.

    The joules are all that the sensor saw during the calls, those at rest included.
    """
    bursts = []
    for _ in range(ENERGY_BURSTS):
        step()
        idle_j, idle_s = sensor.energy_of(lambda: time.sleep(least_s))
        step()
        made = [0]

        def work(made=made):
            end = time.monotonic() + least_s
            while made[0] < LEAST_CALLS or time.monotonic() < end:
                call()
                made[0] += 1

        joules, seconds = sensor.energy_of(work)
        if joules < 0 or idle_j < 0:
            raise ValueError("the count of joules went back")
        bursts.append(
            {"calls": made[0], "wall_ns": round(1e9 * seconds), "joules": joules, "idle_w": idle_j / idle_s}
        )
    return bursts


def measure_energy(worker, engine, root="/"):
    """The worker's job `energy`: bursts of one point. Without a sensor it says so, and nothing is measured."""
    settings, key = worker.job["energy"], worker.job["points"][0]["key"]
    worker.at(0)
    sensor = problem = None
    try:
        sensor = energy_sensor(settings, root)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:300]
    if sensor is None:
        worker.say("energy", key=key, sensor=None, problem=problem, bursts=[])
        return
    prepared = worker.prepare(0, engine)
    if prepared is None:
        return
    worker.place_threads()
    for _ in range(LEAST_CALLS):
        prepared.call()
    try:
        bursts = energy_bursts(sensor, prepared.call, settings["burst_s"], lambda: worker.at(0))
    except Exception as error:  # the sensor went away
        problem = f"{type(error).__name__}: {error}"[:300]
        worker.say("energy", key=key, sensor=None, problem=problem, bursts=[])
    else:
        worker.say("energy", key=key, sensor=sensor.name, problem=None, bursts=bursts)
