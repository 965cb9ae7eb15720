"""What the doctor makes of a board's own words, and of bursts: on made-up boards, sick in every way and lying too."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import Burst
from hakd.boards.device import Device
from hakd.doctor.findings import FAIL, NOTE, OK, SKIPPED, STATUSES, WARN, Finding, Report
from hakd.doctor.noise import CALL, COPIES, block, noise, nothing, points, reference, verdict
from hakd.doctor.state import look_at_state, throttled
from hakd.networks.onnx_model import stand_in_weights, to_onnx

PI = {
    "python": "3.11.2",
    "engine_version": "1.20.1",
    "numpy_version": "1.26.4",
    "machine": "aarch64",
    "cpu_model": "Raspberry Pi 4 Model B Rev 1.4",
    "kernel": "6.6.31+rpt-rpi-v8",
    "isa_flags": ["fp", "asimd", "evtstrm", "crc32", "cpuid"],
    "cpus": 4,
    "affinity": [3],
    "cpu_quota": None,
    "governor": "performance",
    "clock_mhz": 1800.0,
    "clock_min_mhz": 600.0,
    "clock_max_mhz": 1800.0,
    "temperature_c": 48.2,
    "throttle": {"get_throttled": "throttled=0x0", "core_throttle_count": None},
    "load": [0.08, 0.02, 0.01],
    "memory_total_mb": 3791,
    "memory_free_mb": 3400,
    "uptime_s": 93600.0,
    "wall_clock_s": 1000.0,
}


def looked(**changes) -> dict[str, Finding]:
    """Findings on a healthy Raspberry Pi 4 but for the changes, by what was looked at."""
    report = Report("pi4", "pi4")
    device = Device("pi4", "ssh", host="pi4.lab", python="/opt/venv/bin/python3")
    look_at_state(report, device, {**PI, **changes}, here_s=1000.0)
    return {finding.what: finding for finding in report.findings}


def test_a_healthy_board_has_nothing_but_good_marks():
    found = looked()
    assert {finding.status for finding in found.values()} == {OK}
    assert found["instructions"].value == "NEON (without fp16, dotprod, i8mm, SVE)"
    assert found["timed on"].value == "CPU 3 of 4"
    assert found["python"].value == "3.11.2 (/opt/venv/bin/python3)"
    assert found["clock"].value == "1800 MHz of 600 to 1800"


@pytest.mark.parametrize(
    ("changes", "what", "status", "words", "remedy"),
    [
        ({"governor": "ondemand"}, "governor", WARN, "ondemand", "tee /sys/devices"),
        ({"governor": None}, "governor", NOTE, "not reported", ""),
        ({"clock_mhz": 1000.0}, "clock", WARN, "1000 MHz of 600 to 1800, in spite", "temperature and power"),
        ({"temperature_c": 84.0}, "temperature", WARN, "throttles, or is about to", "Cool it"),
        ({"temperature_c": 75.0}, "temperature", NOTE, "75 degrees", "Cool it"),
        ({"throttle": {"get_throttled": "throttled=0x50005"}}, "throttling", FAIL, "under-voltage, throttled", "5.1 V"),
        ({"throttle": {"get_throttled": "throttled=0x80008"}}, "throttling", FAIL, "soft temperature", "Cool it"),
        ({"throttle": {"get_throttled": "throttled=0x20000"}}, "throttling", WARN, "since the start: clock", "Cool"),
        ({"throttle": {"core_throttle_count": 3.0}}, "throttling", NOTE, "3 events", ""),
        ({"memory_free_mb": 90}, "memory", WARN, "90 of 3791", "64 models"),
        ({"load": [3.1, 1, 1]}, "load", WARN, "3.10 over the last minute; up for 26 hours", "`top`"),
        ({"wall_clock_s": 1000.0 - 5 * 365.25 * 86400}, "wall clock", NOTE, "5 years behind this machine", ""),
        ({"wall_clock_s": 1000.0 + 7000}, "wall clock", NOTE, "117 minutes ahead of", ""),
        ({"affinity": [0, 1, 2, 3]}, "timed on", NOTE, "CPU 0, 1, 2, 3 of 4", "fewer `threads`"),
        ({"cpu_quota": 0.5}, "cpu quota", WARN, "0.5 CPUs for 1 thread and the agent: the ", "--cpuset-cpus"),
        ({"cpu_quota": 1.0}, "cpu quota", WARN, "1 CPU for 1 thread and the agent", "systemd: no CPUQuota"),
        ({"cpu_quota": 1.5}, "cpu quota", OK, "1.5 CPUs for 1 thread and the agent", ""),
        ({"isa_flags": ["fp"]}, "instructions", WARN, "none that count (without NEON", ""),
        ({"machine": "armv7l", "isa_flags": ["neon", "vfpv4"]}, "instructions", OK, "NEON, VFPv4", ""),
        ({"machine": "x86_64", "isa_flags": ["avx2", "avx512f"]}, "instructions", OK, "AVX2, AVX-512 (without", ""),
        ({"machine": "riscv64"}, "instructions", NOTE, "not reported", ""),
    ],
)  # fmt: skip
def test_each_ailment_has_its_mark_and_its_remedy(changes, what, status, words, remedy):
    found = looked(**changes)
    assert found[what].status == status and words in found[what].value
    assert remedy in found[what].remedy and bool(remedy) == bool(found[what].remedy)
    assert {one.status for name, one in found.items() if name != what} == {OK}


@pytest.mark.parametrize(
    ("threads", "context", "what", "status", "words"),
    [
        (
            2,
            {"affinity": [2, 3], "cores": 1},
            "timed on",
            WARN,
            "2 threads on 1 core: CPUs 2, 3 include hyper-threads",
        ),
        (2, {"affinity": [1, 3], "cores": 2}, "timed on", OK, "CPU 1, 3 of 4"),
        (2, {"affinity": [2, 3], "cores": None}, "timed on", OK, "CPU 2, 3 of 4"),
        (
            2,
            {"affinity": [2, 3], "cpu_quota": 1.5},
            "cpu quota",
            WARN,
            "1.5 CPUs for 2 threads and the agent: the k",
        ),
        (2, {"affinity": [2, 3], "cpu_quota": 2.5}, "cpu quota", OK, "2.5 CPUs for 2 threads and the agent"),
    ],
)
def test_threads_that_share_a_core_or_a_quota_are_warned_of(threads, context, what, status, words):
    report = Report("box", "box")
    look_at_state(report, Device("box", threads=threads), {**PI, **context}, here_s=1000.0)
    (found,) = [finding for finding in report.findings if finding.what == what]
    assert found.status == status and words in found.value
    assert bool(found.remedy) == (status == WARN)


def test_a_quota_of_all_cpus_is_none():
    report = Report("box", "box")
    look_at_state(report, Device("box", threads=4), {**PI, "cpu_quota": 4.0}, here_s=1000.0)
    (found,) = [finding for finding in report.findings if finding.what == "cpu quota"]
    assert (found.status, found.value) == (OK, "4 CPUs for 4 threads and the agent")


def test_bits_of_the_firmware_are_told_in_words():
    assert throttled("throttled=0x0") == ([], [])
    assert throttled("throttled=0xF000F") == ([
        "under-voltage", "clock capped", "throttled", "soft temperature limit"
    ],) * 2  # fmt: skip
    assert throttled("VCHI initialization failed") is None and throttled("throttled=0xzz") is None


junk = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PI, junk)))
def test_whatever_a_board_says_ends_in_findings(context):
    report = Report("board", "board")
    look_at_state(report, Device("board"), context, here_s=1000.0)
    assert len(report.findings) == len(looked())
    assert all(line.isprintable() for line in report.text().splitlines())


# --- reports


def test_a_report_for_people_and_for_machines():
    report = Report("pi4", "boards.yaml:pi4")
    report.add(OK, "reach", "there")
    report.add(WARN, "load", "high", "Wait")
    assert report.fit and report.verdict() == "pi4 can be used; 1 warning"
    report.add(FAIL, "host key", "unknown\x1b[2J", "run `hakd pin pi4`")
    report.skip("login", "noise")
    assert not report.fit
    assert report.text().splitlines() == [
        "pi4",
        "  ok    reach           there",
        "  warn  load            high  -> Wait",
        "  FAIL  host key        unknown?[2J  -> run `hakd pin boards.yaml:pi4`",
        "  -     not examined: login, noise",
        "  pi4 is unfit: host key",
    ]
    content = json.loads(json.dumps(report.to_dict()))
    assert [one["status"] for one in content["findings"]] == [OK, WARN, FAIL, SKIPPED, SKIPPED]
    assert {one["status"] for one in content["findings"]} <= set(STATUSES)
    assert content["fit"] is False and content["device"] == "pi4"
    with pytest.raises(ValueError, match="no such status"):
        report.add("fine", "x", "y")


# --- noise


def bursts(
    processes: int = 6,
    rounds: int = 10,
    within: float = 0.002,
    between: float = 0.0,
    of_copy: float = 0.0,
    switches: float = 0.0,
    seed: int = 0,
) -> dict[str, list[Burst]]:
    """Bursts of the probe with this noise (standard deviations of logarithms)."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Burst]] = {f"noise:{copy}": [] for copy in range(COPIES)} | {CALL: []}
    for process in range(processes):
        whole = between * rng.standard_normal()
        for key, own in found.items():
            own_factor = of_copy * rng.standard_normal()
            for turn in range(rounds):
                scale = 2e3 if key == CALL else 1e5
                value = int(scale * np.exp(whole + own_factor + within * rng.standard_normal()))
                switched = int(rng.random() < switches)
                own.append(
                    Burst(
                        key,
                        f"p{process}",
                        turn,
                        len(own) % 9,
                        10,
                        value,
                        int(1.05 * value),
                        switched,
                        None,
                        1.0,
                    )
                )
    return found


def test_a_quiet_machine_is_fit():
    found = noise(bursts())
    assert found.call_us == pytest.approx(2.1, rel=0.01) and found.latency_ms == pytest.approx(0.1, rel=0.01)
    assert (found.processes, found.bursts, found.preempted) == (6, 480, 0)
    assert found.within == pytest.approx(0.67 * 0.002, rel=0.3) and found.between < 0.002
    assert found.residual_p95 < 0.005 and found.best_min_step == pytest.approx(0.02)
    assert verdict(found, 0.06)[0] == "fit"


def test_what_a_whole_process_has_in_common_is_no_residual():
    found = noise(bursts(between=0.03))
    assert found.between == pytest.approx(0.03, rel=0.6) and found.residual_p95 < 0.005
    assert verdict(found, 0.06)[0] == "fit"


def test_more_looks_help_against_noise_of_single_processes():
    found = noise(bursts(processes=8, of_copy=0.03))
    assert found.residual_p95 == pytest.approx(1.96 * 2**0.5 * 0.03, rel=0.3)
    assert found.residual_all_p95 is not None and found.residual_all_p95 < 0.7 * found.residual_p95
    assert found.best_min_step == pytest.approx(2 * found.residual_all_p95)
    kind, words, remedy = verdict(found, 0.05)
    assert kind == "more" and "usable with more looks" in words and "`rounds`" in remedy
    assert verdict(found, 2.01 * found.residual_p95)[0] == "fit"


def test_what_a_machine_can_tell_is_twice_what_two_measurements_differ_by():
    """At least two tolerances of 1 %; a sweep's own residual p95 counts where four processes and more give one."""
    found = noise(bursts())
    for pair, every, wanted in (
        (0.004, None, 0.02),
        (0.02, None, 0.04),
        (0.02, 0.012, 0.024),
        (0.2, 0.3, 0.4),
    ):
        assert replace(found, residual_p95=pair, residual_all_p95=every).best_min_step == pytest.approx(
            wanted
        )


def test_an_unfit_machine_is_told_its_cause_and_what_it_could_still_do():
    kind, words, remedy = verdict(noise(bursts(of_copy=0.03)), 0.03)
    assert kind == "unfit" and "unfit for steps of 3.0%: processes disagree by" in words
    assert "or set `min_step: 0." in remedy
    found = noise(bursts(of_copy=0.08, switches=0.5))
    kind, words, remedy = verdict(found, 0.06)
    assert kind == "unfit" and "of the bursts were interrupted; steps of" in words
    assert f"steps of {found.best_min_step:.1%} and more can be detected" in words
    wanted = np.ceil(100 * found.best_min_step) / 100
    assert (
        remedy
        == f"End what else runs on those CPUs; or set `min_step: {wanted:.2f}`, if smaller steps do not matter"
    )
    kind, words, _ = verdict(noise(bursts(of_copy=0.08, between=0.2)), 0.06)
    assert kind == "unfit" and "whole processes differ by" in words
    kind, words, _ = verdict(noise(bursts(of_copy=0.08, within=0.05)), 0.06)
    assert kind == "unfit" and "scatter by" in words


def test_two_processes_are_enough_for_a_verdict():
    found = noise(bursts(processes=2))
    assert found.residual_all_p95 is None and verdict(found, 0.06)[0] == "fit"


def test_the_expected_output_of_the_block_is_what_an_engine_makes():
    import onnxruntime

    images = np.random.default_rng(0).standard_normal((2, 32, 16, 16)).astype(np.float32)
    model = to_onnx(block(), stand_in_weights(block()), 2).SerializeToString()
    found = onnxruntime.InferenceSession(model).run(None, {"input": images})[0]
    np.testing.assert_allclose(found, reference(images), atol=1e-4)
    assert (found > 0).mean() > 0.2


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "ncnn", "openvino"])
def test_every_engine_has_a_file_of_the_probe(engine):
    made = points(Device("d", engine=engine))
    assert len({point.key for point in made}) == COPIES + 1
    assert len({point.model() for point in made}) == 2  # the copies are one model
    assert nothing().macs() == 0
