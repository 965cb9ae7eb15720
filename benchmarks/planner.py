"""Does the planner decide as all widths would? Virtual devices, whose truth is a formula.

    python -m benchmarks.planner [--devices 24] [--sessions 4] [--jobs 2] [--out FILE.json] [--cases]
    python -m benchmarks.planner --sigma 0.01 0.03 --interference 0.6     # noisy devices, whose calls others slow
    python -m benchmarks.planner --moduli unusual --first 3000     # tiles of 6, 12, 20 ... outputs, combs of 3, 5 ...
    python -m benchmarks.planner --check        # the same figures from full sessions, through journals and the wire

Devices and blocks: `benchmarks.computed`. In each session all blocks of a device are swept together, each at a
pruned width drawn for this session, as a study sweeps the groups of a network. Every figure goes through the
estimates, curves, plans and choices of the package; only the wire, the journals and the models are left out (`--check`
puts them back).
"""

import argparse
import itertools
import json
import math
import multiprocessing
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.computed import (
    MODULI,
    Block,
    BlockLine,
    ComputedBoard,
    Truth,
    block_line,
    block_point,
    blocks,
    draw_device,
    layers,
    noisier,
)
from benchmarks.features import features
from hakd.boards import Device, open_board
from hakd.boards.cost_model import CostModel
from hakd.choosing.snap import READINGS, snap
from hakd.staircase.combs import comb, comb_upside_down
from hakd.staircase.curve import Curve, make_curve
from hakd.staircase.estimate import Estimate, Estimates
from hakd.staircase.mapping import changes
from hakd.study.measuring import Measuring
from hakd.sweeping.following import follow
from hakd.sweeping.modes import MODES

STEP = math.log(1.03)
QUIET = 0.005
SLOWER = 1.01
MAPPED = 160  # the goal for maps is about groups of up to this number of channels
REFERENCE = -1  # in the list of a device's blocks
DECISIONS = (
    "| decisions | n | good | same | good at its own tolerance | decided | points | looks"
    " | device time saved | same twice | as good twice |"
)
MAPS = (
    "| maps | blocks | points (mean, most) | steps > 3 % | localised | or shown by a modulus | or listed with a gap"
    " | false of quiet pairs | device time saved |"
)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="number of the first device")
    parser.add_argument(
        "--sigma", nargs=2, type=float, metavar=("LOW", "HIGH"), help="noise a burst is drawn from, instead"
    )
    parser.add_argument(
        "--interference",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of calls that others slow, on average",
    )
    parser.add_argument(
        "--moduli", choices=MODULI, default="usual", help="what the devices' tiles are drawn from"
    )
    parser.add_argument("--sessions", type=int, default=4, help="sessions of decisions a device")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="all cases as JSON")
    parser.add_argument("--cases", action="store_true", help="print the cases that fail")
    parser.add_argument("--check", action="store_true", help="compare with full sessions")
    arguments = parser.parse_args()
    if arguments.check:
        raise SystemExit(check())
    numbers = range(arguments.first, arguments.first + arguments.devices)
    tasks = [
        (
            _drawn(number, arguments.moduli, arguments.sigma, arguments.interference),
            number,
            arguments.sessions,
        )
        for number in numbers
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        cases = [case for found in pool.imap_unordered(_device_cases, tasks) for case in found]
    cases.sort(key=lambda case: (case["what"], case["device"], case.get("session", 0), case["block"]))
    if arguments.out:
        arguments.out.write_text(json.dumps(cases))
    for line in report(cases):
        print(line)
    if arguments.cases:
        for case in cases:
            if case["what"] == "decision" and not case["good"]:
                print(json.dumps(case))


# --- running


def _drawn(number: int, moduli: str, sigma: tuple[float, float] | None, interference: float) -> CostModel:
    model = draw_device(number, moduli)
    own = model.noise.sigma
    return noisier(model, number, sigma or (own, own), interference) if sigma or interference else model


def _device_cases(task: tuple[CostModel, int, int]) -> list[dict[str, Any]]:
    model, number, sessions = task
    truth, parts = Truth(model), blocks(number)
    cases: list[dict[str, Any]] = []
    for session in range(sessions):
        cases += decisions(number, truth, parts, session)
    return cases + maps(number, truth, parts)


def sweep(
    truth: Truth, parts: Sequence[Block], widths: Sequence[int], mode: str, seed: int
) -> tuple[list[BlockLine], Estimates, ComputedBoard]:
    """Blocks followed in one session of a computed board."""
    device = Device("computed", "virtual", cost_model=truth.model.to_dict())
    board = ComputedBoard(device, truth, seed)
    lines = [block_line(block, width, MODES[mode]) for block, width in zip(parts, widths, strict=True)]
    reference = block_point(parts[REFERENCE], 64, device)
    return lines, follow(board, lines, Measuring(), reference), board  # type: ignore[arg-type]


def true_curve(truth: Truth, block: Block, residual: float = 0.0) -> Curve:
    """Every width, without noise; the tolerance is that of a residual p95."""
    points = {}
    for width in range(1, block.full + 1):
        ms = truth.ms(block, width)
        points[width] = Estimate(str(width), ms, ms, ms, ms, ms, 1, 0, 2)
    return make_curve(block.name, None, block.around, points, residual)


def decisions(number: int, truth: Truth, parts: list[Block], session: int) -> list[dict[str, Any]]:
    """A case for each block and reading: what was decided, twice, and what all widths decide."""
    rng = random.Random(f"{number} {session}")
    widths = [rng.randint(max(1, block.full // 8), block.full - 1) for block in parts]
    swept = [sweep(truth, parts, widths, "targets", rng.randrange(2**31)) for _ in range(2)]
    everything_s = [_exhaustive_s(truth, block) for block in parts]
    shares = [board.device_s / sum(len(line.keys) for line in lines) for lines, _, board in swept]
    cases = []
    for i, (block, width) in enumerate(zip(parts, widths, strict=True)):
        exact = true_curve(truth, block)
        found = [lines[i].curve for lines, _, _ in swept]
        timed = [lines[i] for lines, _, _ in swept]
        again = _again(*(s for _, s, _ in swept), timed)
        for reading in READINGS:
            chosen = [snap(curve, width, block.full, reading).width_to for curve in found]
            wanted = snap(exact, width, block.full, reading).width_to
            same_eps = wanted
            if found[0].residual_p95 is not None:
                equal = true_curve(truth, block, found[0].residual_p95)
                same_eps = snap(equal, width, block.full, reading).width_to
            verdict = judge(exact, chosen[0], wanted)
            cases.append(
                {
                    "what": "decision",
                    "device": number,
                    "sigma": truth.model.noise.sigma,
                    "session": session,
                    "block": block.name,
                    "full": block.full,
                    "width": width,
                    "reading": reading,
                    "kind": kind(truth, block, width),
                    "chosen": chosen[0],
                    "wanted": wanted,
                    "wanted_same_eps": same_eps,
                    "again": chosen[1],
                    "alike": not judge(exact, *chosen) and not judge(exact, *reversed(chosen)),
                    "slower": exact.at(chosen[0]) / exact.at(wanted) - 1,
                    "verdict": verdict,
                    "good": not verdict,
                    "good_same_eps": not judge(exact, chosen[0], same_eps),
                    "decided": found[0].decided(width, block.full),
                    "eps": found[0].tolerance,
                    "points": len(timed[0].keys),
                    "looks": timed[0].look,
                    "seconds": shares[0] * len(timed[0].keys),
                    "exhaustive_s": everything_s[i],
                    "remeasured": again,
                }
            )
    return cases


def judge(exact: Curve, chosen: int, wanted: int) -> str:
    """Why a decision is not as good as the wanted one; empty when it is.

    Good: the same, or at most 1 % slower and at most one plateau narrower.
    """
    if chosen == wanted:
        return ""
    slower = exact.at(chosen) > SLOWER * exact.at(wanted)
    plateaus = features(exact).plateaus
    place = {w: i for i, one in enumerate(plateaus) for w in range(one.left, one.right + 1)}
    narrower = place[chosen] < place[wanted] - 1
    return " and ".join(word for word, holds in (("slower", slower), ("narrower", narrower)) if holds)


def kind(truth: Truth, block: Block, width: int) -> str:
    """What the true curve is made of from the pruned width on, by the parameters that matter there."""
    model = truth.model
    from_here = layers(block.graph(block.full))
    out = any(layer.cout == block.full and not layer.depthwise for layer in from_here)
    ins = any(layer.cin == block.full and not layer.depthwise for layer in from_here)
    for one in model.humps:
        if out and one.out[0] <= block.full and one.out[1] >= width:
            return "switch" if one.out[1] >= block.full else "hump"
    has_comb = ins and model.tile_in > 1
    has_steps = out and model.tile_out > 1
    if has_comb and has_steps:
        return "sawtooth"
    return "comb" if has_comb else "staircase" if has_steps else "slope"


def _again(first: Estimates, second: Estimates, lines: Sequence[BlockLine]) -> list[float]:
    """Log ratios of widths that two sweeps timed on a curve that is decided, the sweeps' common factor removed."""
    if not all(line.decided for line in lines):
        return []
    shared = first.by_key.keys() & second.by_key.keys()
    gaps = {k: math.log(first.by_key[k].latency_ms / second.by_key[k].latency_ms) for k in shared}
    level = float(np.median(list(gaps.values())))
    return [gaps[key] - level for key in lines[0].keys.values() if key in gaps]


def _exhaustive_s(truth: Truth, block: Block, looks: int = 1) -> float:
    """Device time of one look at every width: bursts with their two discarded calls, and warming up."""
    measuring, total = Measuring(), 0.0
    protocol = measuring.one_process()
    for width in range(1, block.full + 1):
        us = 1e3 * truth.ms(block, width)
        calls = max(protocol.min_calls, min(protocol.max_calls, round(protocol.burst_ms * 1e3 / us)))
        warm = max(protocol.warmup_ms * 1e3, protocol.warmup_calls * us)
        total += measuring.processes * (measuring.rounds * (calls + 2) * us + warm) / 1e6
    return looks * total


def maps(number: int, truth: Truth, parts: list[Block]) -> list[dict[str, Any]]:
    """A case for each block: the steps of its map against those of the truth."""
    rng = random.Random(f"{number} maps")
    widths = [rng.randint(max(1, block.full // 8), block.full) for block in parts]
    lines, _, board = sweep(truth, parts, widths, "map", rng.randrange(2**31))
    share = board.device_s / sum(len(line.keys) for line in lines)
    cases = []
    for line in lines:
        exact = true_curve(truth, line.block)
        scored = score_map(line.curve, exact)
        cases.append(
            {
                "what": "map",
                "device": number,
                "block": line.block.name,
                "full": line.block.full,
                "kind": kind(truth, line.block, 1),
                "points": len(line.keys),
                "looks": line.look,
                "trusted": line.curve.trusted,
                "eps": line.curve.eps if math.isfinite(line.curve.eps) else None,
                "seconds": share * len(line.keys),
                "exhaustive_s": _exhaustive_s(truth, line.block),
                **scored,
            }
        )
    return cases


def score_map(curve: Curve, exact: Curve) -> dict[str, int]:
    """Steps of the truth, and how many of them the map localises, shows by a comb's modulus, or lists with a gap.

    A step is a change of more than 3 % from one width to the next beyond what the slope there explains (the median
    change of the eight widths around). A false step is one that the map puts between two adjacent widths whose true
    times differ by less than 0.5 % (half the smallest tolerance).
    """
    true_ms = dict(zip(exact.widths, exact.latency_ms, strict=True))
    logs = {w: math.log(true_ms[w + 1] / true_ms[w]) for w in exact.widths[:-1]}
    steps = [w for w, change in logs.items() if abs(change - _slope(logs, w)) > STEP and abs(change) > STEP]
    found = changes(curve)
    exactly = {one.before for one in found if one.exact}
    modulus = comb(curve) or comb_upside_down(curve)
    teeth = {w for w in steps if modulus and (w % modulus == 0 or (w + 1) % modulus == 0)}
    listed = {w for w in steps for one in found if one.before <= w < one.after}
    adjacent = [a for a, b in itertools.pairwise(curve.widths) if b - a == 1]
    quiet = [w for w in adjacent if abs(logs[w]) < QUIET]
    return {
        "steps": len(steps),
        "localised": len(exactly & set(steps)),
        "shown": len((exactly | teeth) & set(steps)),
        "listed": len((exactly | teeth | listed) & set(steps)),
        "quiet": len(quiet),
        "false": len(exactly & set(quiet)),
    }


def _slope(logs: dict[int, float], at: int) -> float:
    return float(np.median([logs[w] for w in range(at - 4, at + 5) if w in logs]))


# --- reporting


def report(cases: Sequence[dict[str, Any]]) -> list[str]:
    """The tables, as Markdown."""
    made = [case for case in cases if case["what"] == "decision"]
    found = [case for case in cases if case["what"] == "map"]
    pairs, devices = len(made) // len(READINGS), len({case["device"] for case in made})
    lines = [f"{len(made)} decisions ({pairs} blocks at a width) on {devices} devices, {len(found)} maps", ""]
    lines += [DECISIONS, "|---" * DECISIONS.count(" | ") + "|---|"]
    lines += [_decision_row(name, group) for name, group in _groups(made)]
    gaps = np.abs([gap for case in made if case["reading"] == READINGS[0] for gap in case["remeasured"]])
    if gaps.size:
        lines += [
            "",
            f"Re-measured medians of decided curves within 1 %: {np.mean(gaps < 0.01):.1%} of {gaps.size}",
        ]
    lines += ["", MAPS, "|---" * MAPS.count(" | ") + "|---|"]
    if not found:
        return lines
    small = [case for case in found if case["full"] <= MAPPED]
    lines += [_map_row(f"up to {MAPPED}", small), _map_row("all", found)]
    lines += [_map_row(name, group) for name, group in _by(small, "kind")]
    return lines


def _groups(made: Sequence[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    yield "all", list(made)
    yield from _by(made, "reading")
    yield from _by(made, "kind")
    for name, low, high in (("up to 64", 0, 64), ("65 to 160", 65, 160), ("above 160", 161, 10**6)):
        yield f"{name} channels", [case for case in made if low <= case["full"] <= high]
    for low, high in ((0, 0.005), (0.005, 0.01), (0.01, 1)):
        quiet = [case for case in made if low <= case["sigma"] < high]
        yield f"sigma {low:.1%} to {min(high, 0.015):.1%}", quiet


def _by(cases: Sequence[dict[str, Any]], key: str) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    groups = defaultdict(list)
    for case in cases:
        groups[case[key]].append(case)
    yield from sorted(groups.items())


def _decision_row(name: str, group: Sequence[dict[str, Any]]) -> str:
    if not group:
        return f"| {name} | 0 |" + " - |" * 9
    share = {key: np.mean([case[key] for case in group]) for key in ("good", "good_same_eps", "decided")}
    same = np.mean([case["chosen"] == case["wanted"] for case in group])
    again = np.mean([case["chosen"] == case["again"] for case in group])
    alike = np.mean([case["alike"] for case in group])
    points = [case["points"] for case in group]
    saved = sum(case["exhaustive_s"] for case in group) / sum(case["seconds"] for case in group)
    return (
        f"| {name} | {len(group)} | {share['good']:.1%} | {same:.1%} | {share['good_same_eps']:.1%} |"
        f" {share['decided']:.1%} | {np.mean(points):.1f} (p90 {np.percentile(points, 90):.0f}) |"
        f" {np.mean([case['looks'] for case in group]):.1f} | {saved:.1f}x | {again:.1%} | {alike:.1%} |"
    )


def _map_row(name: str, group: Sequence[dict[str, Any]]) -> str:
    steps = sum(case["steps"] for case in group)
    share = [
        f"{sum(case[key] for case in group) / max(steps, 1):.1%}" for key in ("localised", "shown", "listed")
    ]
    quiet, false = (sum(case[key] for case in group) for key in ("quiet", "false"))
    points = [case["points"] for case in group]
    saved = sum(case["exhaustive_s"] for case in group) / sum(case["seconds"] for case in group)
    return (
        f"| {name} | {len(group)} | {np.mean(points):.1f}, {max(points)} | {steps} | {' | '.join(share)} |"
        f" {false / max(quiet, 1):.2%} of {quiet} | {saved:.1f}x |"
    )


# --- checks


def check(count: int = 3) -> str:
    """The same sweeps as full sessions: an agent in another process, the wire, journals, models read back."""
    differences = 0
    for number in range(count):
        truth, parts = Truth(draw_device(number)), blocks(number)
        parts = [block for block in parts if block.full <= MAPPED]
        widths = [max(1, block.full // 2) for block in parts]
        for mode in ("targets", "map"):
            _, computed, _ = sweep(truth, parts, widths, mode, truth.model.seed)
            device = Device("computed", "virtual", cost_model=truth.model.to_dict())
            with tempfile.TemporaryDirectory() as store, open_board(device, Path(store)) as board:
                others = [
                    block_line(block, width, MODES[mode]) for block, width in zip(parts, widths, strict=True)
                ]
                whole = follow(board, others, Measuring(), block_point(parts[REFERENCE], 64, device))
            same = whole.by_key == computed.by_key
            differences += not same
            print(f"device {number}, {mode}: {len(whole.by_key)} points", "the same" if same else "DIFFER")
    return "the figures differ" if differences else ""


if __name__ == "__main__":
    sys.exit(main())
