"""What a board reports when a session opens: interpreter, engine, processor, clock, temperature, memory, load."""

import re
from collections.abc import Mapping
from typing import Any

from hakd.boards.device import Device
from hakd.boards.sharing import QUOTA_REMEDY, quota_words, shared_cores, short_quota
from hakd.doctor.findings import FAIL, NOTE, OK, WARN, Report

NOT_REPORTED = "not reported by the board"
HOT_C = 80.0
WARM_C = 70.0
LITTLE_MB = 200
CLOCK_OFF_S = 5.0
SLOWED = 0.95  # of the highest clock
# Flags that decide which kernels an engine takes: (in /proc/cpuinfo, common name).
ISA = {
    "aarch64": (("asimd", "NEON"), ("asimdhp", "fp16"), ("asimddp", "dotprod"), ("i8mm", "i8mm"), ("sve", "SVE")),
    "arm": (("neon", "NEON"), ("vfpv4", "VFPv4")),
    "x86_64": (("avx2", "AVX2"), ("fma", "FMA"), ("avx512f", "AVX-512"), ("avx512_vnni", "AVX-512 VNNI"),
               ("avx_vnni", "AVX-VNNI"), ("amx_tile", "AMX")),
}  # fmt: skip
# Bits of the Raspberry Pi's `vcgencmd get_throttled`; 16 higher: it has happened since the start.
THROTTLED = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
_POWER = "Use a power supply and a cable that hold 5.1 V under load"
_CORES = "Set `cpus` to one of each core (`lscpu -e` lists them), or fewer `threads`"
_COOL = "Cool it with a heat sink or a fan; wait until it has cooled down"


def look_at_state(report: Report, device: Device, context: Mapping[str, Any], here_s: float) -> None:
    """Report on a board's context.

    Args:
        report: takes the findings.
        device: as configured.
        context: of an open session (`Board.context`); None for what the board does not report.
        here_s: this machine's wall clock when the board's was read, seconds.
    """
    state = BoardState(context)
    python = state.text("python")
    where = device.python or _default_python(device)
    report.add(*((OK, "python", f"{python} ({where})") if python else (NOTE, "python", NOT_REPORTED)))
    numpy = state.text("numpy_version")
    report.add(OK, "engine", f"{device.engine} {state.text('engine_version')}, numpy {numpy}")
    _processor(report, state)
    _timed_cpus(report, state, device.threads)
    _quota(report, state, device.threads)
    _governor(report, state)
    _clock(report, state)
    _heat(report, state)
    _throttling(report, state)
    _memory(report, state)
    _wall_clock(report, state, here_s)
    _load(report, state)


class BoardState(dict[str, Any]):
    """A board's context, which is not trusted: a value of the wrong type counts as not reported."""

    def number(self, key: str) -> float | None:
        """A number."""
        value = self.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self.get(key)
        return value if isinstance(value, str) and value else None

    def numbers(self, key: str) -> list[float]:
        """A list of numbers; empty for anything else."""
        value = self.get(key)
        plain = isinstance(value, list) and all(type(item) in (int, float) for item in value)
        return value if isinstance(value, list) and plain else []


def _default_python(device: Device) -> str:
    return "the one that runs this program" if device.transport == "local" else "python3 of the login"


def _processor(report: Report, state: BoardState) -> None:
    machine = state.text("machine") or "?"
    family = "arm" if machine.startswith("armv") else machine
    words = [
        state.text("cpu_model") or machine,
        f"{state.number('cpus') or 0:.0f} cores",
        machine,
        *([f"Linux {state.text('kernel')}"] if state.text("kernel") else []),
    ]
    report.add(OK, "processor", ", ".join(words))
    flags = set(_words(state.get("isa_flags")))
    known = ISA.get(family, ())
    if not flags or not known:
        report.add(NOTE, "instructions", NOT_REPORTED)
        return
    have = [name for flag, name in known if flag in flags]
    lack = [name for flag, name in known if flag not in flags]
    without = f" (without {', '.join(lack)})" if lack else ""
    text = (", ".join(have) or "none that count") + without
    report.add(OK if known[0][1] in have else WARN, "instructions", text)


def _words(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _timed_cpus(report: Report, state: BoardState, threads: int) -> None:
    chosen, cpus = state.numbers("affinity"), state.number("cpus")
    numbers = ", ".join(f"{cpu:.0f}" for cpu in chosen)
    text = f"CPU {numbers} of {cpus or 0:.0f}"
    shared = shared_cores(state, threads)
    if not chosen:
        report.add(NOTE, "timed on", NOT_REPORTED)
    elif shared is not None:
        report.add(WARN, "timed on", shared, _CORES)
    elif cpus is not None and len(chosen) >= cpus:
        remedy = "Leave one free: fewer `threads`" if len(chosen) > 1 else ""
        report.add(NOTE, "timed on", f"{text}: the agent runs on them too", remedy)
    else:
        report.add(OK, "timed on", text)


def _quota(report: Report, state: BoardState, threads: int) -> None:
    quota, short = state.number("cpu_quota"), short_quota(state, threads)
    if short is not None:
        report.add(WARN, "cpu quota", short, QUOTA_REMEDY)
    elif quota is not None:
        report.add(OK, "cpu quota", quota_words(quota, threads))
    elif "cpu_quota" in state:
        report.add(OK, "cpu quota", "none")
    else:
        report.add(NOTE, "cpu quota", NOT_REPORTED)


def _governor(report: Report, state: BoardState) -> None:
    governor = state.text("governor")
    if governor is None:
        report.add(NOTE, "governor", f"{NOT_REPORTED} (a virtual machine, or no cpufreq)")
    elif governor == "performance":
        report.add(OK, "governor", governor)
    else:
        remedy = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        report.add(WARN, "governor", f"{governor}: the clock follows the load", remedy)


def _clock(report: Report, state: BoardState) -> None:
    now, low, high = (state.number(key) for key in ("clock_mhz", "clock_min_mhz", "clock_max_mhz"))
    if now is None:
        report.add(NOTE, "clock", NOT_REPORTED)
        return
    text = f"{now:.0f} MHz" + (f" of {low:.0f} to {high:.0f}" if low is not None and high is not None else "")
    slowed = high is not None and state.text("governor") == "performance" and now < SLOWED * high
    if slowed:
        report.add(WARN, "clock", f"{text}, in spite of the governor", "Check temperature and power supply")
    else:
        report.add(OK, "clock", text)


def _heat(report: Report, state: BoardState) -> None:
    degrees = state.number("temperature_c")
    if degrees is None:
        report.add(NOTE, "temperature", f"{NOT_REPORTED} (a virtual machine, or no sensor)")
    elif degrees >= HOT_C:
        report.add(WARN, "temperature", f"{degrees:.0f} degrees C: it throttles, or is about to", _COOL)
    elif degrees >= WARM_C:
        report.add(NOTE, "temperature", f"{degrees:.0f} degrees C: a long sweep may make it throttle", _COOL)
    else:
        report.add(OK, "temperature", f"{degrees:.0f} degrees C")


def throttled(text: str) -> tuple[list[str], list[str]] | None:
    """The bits of `vcgencmd get_throttled` in words: (now, since the start); None for another text."""
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", text.strip())
    if match is None:
        return None
    bits = int(match[1], 16)
    now = [words for bit, words in THROTTLED.items() if bits >> bit & 1]
    before = [words for bit, words in THROTTLED.items() if bits >> (bit + 16) & 1]
    return now, before


def _throttling(report: Report, state: BoardState) -> None:
    inner = state.get("throttle")
    counters = BoardState(inner if isinstance(inner, dict) else {})
    bits = throttled(counters.text("get_throttled") or "")
    count = counters.number("core_throttle_count")
    if bits is not None:
        now, before = bits
        remedy = _POWER if "under-voltage" in (now or before) else _COOL
        if now:
            report.add(FAIL, "throttling", f"now: {', '.join(now)}", remedy)
        elif before:
            report.add(WARN, "throttling", f"since the start: {', '.join(before)}", remedy)
        else:
            report.add(OK, "throttling", "none since the start")
    elif count is not None:
        report.add(NOTE if count else OK, "throttling", f"{count:.0f} events counted since the start")
    else:
        report.add(NOTE, "throttling", NOT_REPORTED)


def _memory(report: Report, state: BoardState) -> None:
    free, total = state.number("memory_free_mb"), state.number("memory_total_mb") or 0
    if free is None:
        report.add(NOTE, "memory", NOT_REPORTED)
    elif free < LITTLE_MB:
        remedy = "Stop programs that are not needed: a sweep holds up to 64 models in one process"
        report.add(WARN, "memory", f"{free:.0f} of {total:.0f} MiB available", remedy)
    else:
        report.add(OK, "memory", f"{free:.0f} of {total:.0f} MiB available")


def _wall_clock(report: Report, state: BoardState, here_s: float) -> None:
    there_s = state.number("wall_clock_s")
    if there_s is None:
        report.add(NOTE, "wall clock", NOT_REPORTED)
        return
    off = there_s - here_s
    if abs(off) <= CLOCK_OFF_S:
        report.add(OK, "wall clock", "right within 5 s")
    else:
        way = "ahead of" if off > 0 else "behind"
        report.add(NOTE, "wall clock", f"{_duration(abs(off))} {way} this machine; no measurement uses it")


def _duration(seconds: float) -> str:
    for size, word in ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"


def _load(report: Report, state: BoardState) -> None:
    load = state.numbers("load")
    up = state.number("uptime_s")
    since = f"; up for {_duration(up)}" if up is not None else ""
    if not load:
        report.add(NOTE, "load", NOT_REPORTED)
        return
    text = f"{load[0]:.2f} over the last minute{since}"
    if load[0] > max(0.5, 0.1 * (state.number("cpus") or 1)):
        report.add(WARN, "load", f"{text}: other programs run", "Find them with `top`, and stop them or wait")
    else:
        report.add(OK, "load", text)
