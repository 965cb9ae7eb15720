"""The board's worker: prepares models in the engine and times them in bursts; a process that may die.

One file for Python 3.8 and later, standard library and numpy; it imports nothing of hakd. It travels with
engines.py, its parts and energy.py (packing.worker_source). The agent starts it with its own command, sends the source
and one job, reads JSON lines and kills its group when a step takes too long. For jobs, lines and the timing protocol
see docs/protocol.md.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import itertools
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import zlib

DISCARDED_CALLS = 2
FLUSH_S = 2.0
ATOL = 1e-4


def write_all(fd, data):
    """Write every byte to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_clock(path):
    """CPU clock in MHz, None where the kernel does not report it."""
    try:
        with open(path, "rb") as stream:
            return int(stream.read(32)) / 1e3
    except (OSError, ValueError):
        return None


def pattern(numpy, shape):
    """Deterministic input of unit variance: an integer hash, the same bits with every numpy and machine."""
    x = numpy.arange(1, int(numpy.prod(shape)) + 1, dtype=numpy.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = (x ^ (x >> numpy.uint32(shift))) * numpy.uint32(factor)
    uniform = (x >> numpy.uint32(8)).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)
    return (uniform * numpy.float32(3**0.5)).reshape(shape)


def unpack(text):
    """Bytes from compressed base64."""
    return zlib.decompress(base64.b64decode(text))


def check_output(numpy, output, reference):
    """Largest absolute difference from the reference; refuses other shapes, NaN and errors above its tolerance.

    The tolerance is scaled by the largest reference value where that exceeds 1: float32 sums of large terms cancel. A
    quantised output has the steps of the largest value that it may have.
    """
    if not numpy.isfinite(output.astype("f4")).all():
        raise ValueError("wrong output: not finite")
    if reference is None:
        return None
    expected = numpy.frombuffer(unpack(reference["data"]), dtype="<f4").reshape(reference["shape"])
    if output.shape != expected.shape:
        raise ValueError(f"wrong output: shape {output.shape}, expected {expected.shape}")
    error = float(numpy.abs(output - expected).max())
    largest = max(1.0, reference.get("largest", 0.0), float(numpy.abs(expected).max()))
    if not error <= (reference.get("tolerance") or ATOL) * largest:
        raise ValueError(f"wrong output: differs from the reference by up to {error:.3g}")
    return error


def describe(problem):
    """One short line for an exception; the worker's own ValueErrors need no type."""
    text = str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"
    return text[:300]


def warm_up(call, job):
    """Call until warm; how many calls make a burst of the wanted length."""
    spent = 0
    times: list = []
    while len(times) < job["warmup_calls"] or spent < job["warmup_ms"] * 1e6:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
        spent += times[-1]
    late_half = sorted(times[len(times) // 2 :])
    typical = max(1, late_half[len(late_half) // 2])
    return max(job["min_calls"], min(job["max_calls"], round(job["burst_ms"] * 1e6 / typical)))


def cpu_clock(tasks):
    """A clock of the CPU time of these threads in ns.

    The process's own clock lags by up to a tick for threads that run on other CPUs at that moment, several bursts.
    """
    clocks = [~task << 3 | 6 for task in tasks]  # Linux: the scheduler's clock of one thread

    def read():
        total = 0
        for clock in clocks:
            with contextlib.suppress(OSError):  # it has ended
                total += time.clock_gettime_ns(clock)
        return total

    return read


def burst(call, calls, cpu_ns):
    """Discarded calls, then `calls` timed ones: min, median, involuntary switches, cpu over wall time."""
    for _ in range(DISCARDED_CALLS):
        call()
    clock, times = time.perf_counter_ns, [0] * calls
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    at, cpu, wall = time.monotonic_ns(), cpu_ns(), clock()
    for i in range(calls):
        start = clock()
        call()
        times[i] = clock() - start
    wall, cpu = clock() - wall, cpu_ns() - cpu
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    times.sort()
    median = (times[calls // 2] + times[(calls - 1) // 2]) // 2
    measured = {"calls": calls, "min_ns": times[0], "median_ns": median, "switches": switches}
    return dict(measured, cpu_ratio=round(max(cpu, 0) / max(wall, 1), 4), at_ns=at)


class Unfit(Exception):
    """The engine cannot do this job with any point."""


class Worker:
    """Runs one job in the engine that `load` gives: times points in interleaved rounds, or measures one's memory.

    `energy(worker, engine)` measures one's energy (energy.py).
    """

    def __init__(self, job, fd, load, energy=None):
        self.job, self.fd, self.load, self.energy = job, fd, load, energy
        self.progress = mmap.mmap(job["progress_fd"], 16)
        self.step, self.lines, self.flushed_at = 0, [], time.monotonic()
        self.clock_path = f"/sys/devices/system/cpu/cpu{job['cpus'][0]}/cpufreq/scaling_cur_freq"

    def isolate(self):
        """Die with the agent, be the first to go when memory runs out, write no core file, stay on the chosen CPUs."""
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != self.job["parent"]:
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
        for task in os.listdir("/proc/self/task"):  # preloaded libraries may have threads already
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task), self.job["cpus"])
        gc.disable()

    def at(self, index):
        """Leave the point under way in memory shared with the agent: costs nothing, survives a crash."""
        self.step += 1
        struct.pack_into("qq", self.progress, 0, self.step, index)

    def say(self, kind, **fields):
        self.lines.append(json.dumps(dict(fields, t=kind), allow_nan=False) + "\n")

    def flush(self):
        write_all(self.fd, "".join(self.lines).encode())
        self.lines, self.flushed_at = [], time.monotonic()

    def run(self):
        self.isolate()
        try:
            self.work(self.find())
        except Unfit as problem:
            self.say("missing", detail=str(problem))
        else:
            self.say("end")
        self.at(-1)  # an error from here on does not count against a point
        self.flush()

    def find(self):
        """The engine, which must be there and be the one that the session began with."""
        name, expected = self.job["engine"], self.job["engine_version"]
        try:
            import numpy

            self.numpy = numpy
            engine = self.load(name, self.job["threads"])
        except Exception as error:
            raise Unfit(f"{type(error).__name__}: {str(error)[:300]}") from None
        if expected not in (None, engine.version):
            raise Unfit(f"{name} {engine.version} is there now, the session began with {expected}")
        return engine

    def work(self, engine):
        if self.job["kind"] == "probe":
            self.say("probe", version=engine.version, numpy=self.numpy.__version__)
        elif self.job["kind"] == "memory":
            self.measure_memory(engine)
        elif self.job["kind"] == "graph":
            self.draw(engine)
        elif self.job["kind"] == "energy":
            self.energy(self, engine)
        else:
            self.time(engine)

    def prepare(self, index, engine):
        """Load one point and check its output; a point that cannot be loaded is reported, not fatal."""
        point = self.job["points"][index]
        self.at(index)
        try:
            prepared = engine.prepare(unpack(point.pop("model")), pattern(self.numpy, point["shape"]))
            prepared.call()
            prepared.call()  # the second shows that a call leaves its input as it was
            error = check_output(self.numpy, prepared.output(), point["reference"])
        except Exception as problem:
            self.say("failed", key=point["key"], reason=describe(problem))
            self.flush()
            return None
        self.say("ready", key=point["key"], max_abs_error=error)
        self.flush()
        return prepared

    def place_threads(self):
        """Pin each thread to its own CPU and return them all; they must not have left the CPUs of the job.

        Otherwise the kernel wakes a pool's threads on the CPU of the thread that waits for them, and they alternate
        there for many calls: some bursts would have one thread's speed, others that of all.
        """
        cpus, own = self.job["cpus"], os.getpid()
        tasks = sorted(int(task) for task in os.listdir("/proc/self/task"))
        # Pools start their threads one after the other, one fewer than CPUs: dealt out in order, each pool gets
        # every other CPU.
        turns = itertools.cycle(cpus[1:] or cpus)
        astray = 0
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                astray += not os.sched_getaffinity(task) <= set(cpus)
                os.sched_setaffinity(task, {cpus[0] if task == own else next(turns)})
        if astray:
            where = ", ".join(map(str, cpus))
            raise Unfit(f"{astray} of its {len(tasks)} threads may run on other CPUs than {where}")
        return tasks

    def time(self, engine):
        """All prepared, all warm, then rounds in fresh random order, reported between rounds."""
        ready, calls = {}, {}
        for index in range(len(self.job["points"])):
            prepared = self.prepare(index, engine)
            if prepared is not None:
                ready[index] = prepared
        self.place_threads()
        for index, prepared in ready.items():
            self.at(index)
            calls[index] = warm_up(prepared.call, self.job)
        tasks = self.place_threads()
        cpu_ns = cpu_clock(tasks)
        self.say("warm", tasks=len(tasks))
        keys = [point["key"] for point in self.job["points"]]
        rounds = [frozenset(self.job["rounds"].get(key, ())) for key in keys]
        for turn in sorted(frozenset().union(*rounds)):
            visits = [(index, False) for index in ready if turn in rounds[index]]
            visits += [(index, True) for index in ready if keys[index] == self.job["reference_key"]]
            random.Random(self.job["seed"] * 100003 + turn).shuffle(visits)
            for position, (index, is_reference) in enumerate(visits):
                self.at(index)
                measured = burst(ready[index].call, calls[index], cpu_ns)
                clock = read_clock(self.clock_path)
                place = {"round": turn, "position": position, "reference": is_reference}
                self.say("burst", key=keys[index], clock_mhz=clock, **place, **measured)
                if time.monotonic() - self.flushed_at > FLUSH_S:
                    self.flush()
            self.flush()

    def measure_memory(self, engine):
        """Peak resident set of loading and running one point, beyond the engine with an empty model."""
        point = self.job["points"][0]
        model = unpack(point["model"])
        empty = engine.prepare(engine.empty[0], pattern(self.numpy, engine.empty[1]))
        empty.call()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)
        base = reset_peak()
        self.at(0)
        try:
            prepared = engine.prepare(model, pattern(self.numpy, point["shape"]))
            for _ in range(3):
                prepared.call()
            peak = peak_bytes()  # before the check, which copies the output
            check_output(self.numpy, prepared.output(), None)
        except Exception as problem:
            self.say("failed", key=point["key"], reason=describe(problem))
        else:
            self.say("memory", key=point["key"], bytes=max(0, peak - base))

    def draw(self, engine):
        """What the engine makes of one point's graph: how many ops of each kind it runs."""
        point = self.job["points"][0]
        self.at(0)
        try:
            ops = engine.ops(unpack(point["model"]))
        except Exception as problem:
            self.say("failed", key=point["key"], reason=describe(problem))
        else:
            self.say("graph", key=point["key"], ops=ops)


def peak_bytes():
    """Highest resident set so far."""
    with contextlib.suppress(OSError), open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak():
    """Reset the peak where the kernel allows it, since imports have peaks too; return the peak from here."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")
    return peak_bytes()


def main(load, energy):
    """Do the job at stdin with the engine that `load` gives. Libraries' output to fd 1 goes to stderr from here on."""
    sys.path[:] = [path for path in sys.path if path not in ("", ".")]
    out = os.dup(1)
    os.dup2(2, 1)
    size = int(sys.stdin.buffer.readline())
    Worker(json.loads(sys.stdin.buffer.read(size)), out, load, energy).run()
    os._exit(0)  # an engine's clean-up may hang or crash, and no result depends on it
