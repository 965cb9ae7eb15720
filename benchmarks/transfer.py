"""What do tables of other devices save on a new one? Held-out virtual devices, with and without a prior.

    python -m benchmarks.transfer [--jobs 2] [--devices 2] [--out FILE.json]
    python -m benchmarks.transfer --tables FILE ...    # real tables: each engine or device held out in turn

Families are pairs of moduli (outputs padded, inputs aligned); devices of one family differ in speed, overhead,
penalty, noise and humps (`benchmarks.computed.draw_device`, numbers from 1000 on: neither the tests nor
docs/planner.md use them). A prior is learned from maps of four devices: `related` ones of the same family, `mixed`
ones of four families, the device's own among them, `unrelated` ones of another family. --tables takes latency tables
of hakd, or benchmarks/truth/*.csv.
"""

import argparse
import json
import multiprocessing
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.computed import (
    Block,
    BlockLine,
    ComputedBoard,
    Truth,
    block_line,
    block_point,
    blocks,
    draw_device,
)
from benchmarks.planner import MAPPED, STEP, _slope, judge, score_map, true_curve
from benchmarks.real_engines import families
from hakd.boards import Device
from hakd.boards.cost_model import CostModel
from hakd.choosing.snap import READINGS, snap
from hakd.latency_tables.files import read_latency
from hakd.latency_tables.priors import timed_curves
from hakd.staircase.curve import TOLERANCE_FLOOR, Curve, make_curve
from hakd.staircase.estimate import Estimate
from hakd.staircase.guided import guided_map_more
from hakd.study.measuring import Measuring
from hakd.sweeping.following import follow
from hakd.sweeping.modes import MODES, Mode, guide_mode
from hakd.transfer.prior import Prior, Session, TimedCurve, learn_prior
from hakd.transfer.shapes import block_shape

FAMILIES = ((16, 4), (8, 1), (32, 8), (4, 2))  # tile_out, tile_in
FIRST = 1000  # number of the first device
PER_FAMILY = 20
LEARNED = 4  # devices that a prior is learned from
PRIORS = ("none", "related", "mixed", "unrelated")
CAPS = (4, 6)  # points a decision
BUDGETS = (8, 12, 16)  # points a map with a prior
PLAIN_BUDGETS = (12, 16, 25)  # and without: the first pass takes about 12
RECORDED_RESIDUAL = 0.004  # of recorded medians that say nothing of their noise


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=2, help="held-out devices of each family")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="all cases as JSON")
    parser.add_argument("--tables", nargs="+", default=[], metavar="FILE", help="real tables instead")
    arguments = parser.parse_args()
    if arguments.tables:
        cases = recorded_cases(load_tables(arguments.tables))
    else:
        with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
            cases = virtual_cases(pool, arguments.devices)
    if arguments.out:
        arguments.out.write_text(json.dumps(cases))
    for line in report(cases):
        print(line)


# --- virtual devices


def draw(family: int, place: int) -> tuple[int, CostModel]:
    """Number and cost model of a device of a family."""
    number = FIRST + PER_FAMILY * family + place
    tile_out, tile_in = FAMILIES[family]
    penalty = random.Random(f"penalty {number}").uniform(1.05, 1.6) if tile_in > 1 else 1.0
    return number, replace(draw_device(number), tile_out=tile_out, tile_in=tile_in, penalty_in=penalty)


def small_blocks(number: int) -> list[Block]:
    """Blocks of up to 160 channels; the last one serves as the reference."""
    return [block for block in blocks(number) if block.full <= MAPPED]


def virtual_cases(pool: Any, held_out: int) -> list[dict[str, Any]]:
    """Learn a prior of each kind, and measure all held-out devices with each."""
    places = [(family, place) for family in range(len(FAMILIES)) for place in range(LEARNED)]
    tables = dict(zip(places, pool.map(_mapped, places, chunksize=1), strict=True))
    learning = [
        {f"{f} {p}": curves for (f, p), curves in tables.items() if f == family}
        for family in range(len(FAMILIES))
    ]
    learning.append({f"{f} {p}": curves for (f, p), curves in tables.items() if f == p % len(FAMILIES)})
    priors = pool.map(learn_prior, learning, chunksize=1)
    tasks = []
    for family in range(len(FAMILIES)):
        named = {
            "none": None,
            "related": priors[family],
            "mixed": priors[-1],
            "unrelated": priors[(family + 1) % len(FAMILIES)],
        }
        tasks += [
            (family, LEARNED + i, name, prior) for i in range(held_out) for name, prior in named.items()
        ]
    return [case for found in pool.imap(_held_out, tasks) for case in found]


def _mapped(place: tuple[int, int]) -> list[TimedCurve]:
    """A device's table: maps of its blocks."""
    number, model = draw(*place)
    truth, parts = Truth(model), small_blocks(number)
    lines = _follow(truth, parts, [block.full for block in parts], [MODES["map"]] * len(parts), number)
    return [_timed(line.block, line.curve) for line in lines if line.curve.residual_p95 is not None]


def _timed(block: Block, curve: Curve) -> TimedCurve:
    shape = block_shape(block.name, block.full, block.graph)
    return TimedCurve(shape, curve.widths, curve.latency_ms, curve.residual_p95)


def _follow(
    truth: Truth, parts: Sequence[Block], widths: Sequence[int], modes: Sequence[Mode], seed: int
) -> list[BlockLine]:
    device = Device("computed", "virtual", cost_model=truth.model.to_dict())
    board = ComputedBoard(device, truth, seed)
    lines = [block_line(block, width, mode) for block, width, mode in zip(parts, widths, modes, strict=True)]
    follow(board, lines, Measuring(), block_point(parts[-1], 64, device))  # type: ignore[arg-type]
    return lines


def _held_out(task: tuple[int, int, str, Prior | None]) -> list[dict[str, Any]]:
    family, place, name, prior = task
    number, model = draw(family, place)
    truth, parts = Truth(model), small_blocks(number)
    rng = random.Random(f"{number} pruned")
    widths = [rng.randint(max(1, block.full // 8), block.full - 1) for block in parts]
    cases: list[dict[str, Any]] = []
    for cap in (None, *(CAPS if name in ("none", "related") else ())):
        cases += _decided(truth, parts, widths, prior, cap, number)
    cases += _maps(truth, parts, prior, number)
    return [{"device": number, "family": family, "prior": name, **case} for case in cases]


def _decided(
    truth: Truth,
    parts: Sequence[Block],
    widths: Sequence[int],
    prior: Prior | None,
    cap: int | None,
    seed: int,
) -> list[dict[str, Any]]:
    session = Session(prior) if prior else None
    modes = []
    for block, width in zip(parts, widths, strict=True):
        guide = session.guiding(block.name, block.full, block.graph) if session else None
        mode = guide_mode("targets", guide) if guide else MODES["targets"]
        first = _first(width, block.full)
        if guide and cap:
            run, _ = guide.forecast().ends(None, width, block.full, TOLERANCE_FLOOR)
            first = [width, run, run + 1, block.full]
        modes.append(capped(mode, cap, first) if cap else mode)
    lines = _follow(truth, parts, widths, modes, seed)
    cases = []
    for line in lines:
        exact = true_curve(truth, line.block)
        for reading in READINGS:
            wanted = snap(exact, line.width, line.full, reading).width_to
            chosen = snap(line.curve, line.width, line.full, reading).width_to
            case = {
                "what": "decision",
                "block": line.block.name,
                "width": line.width,
                "reading": reading,
                "cap": cap,
            }
            case |= {"chosen": chosen, "wanted": wanted, "good": not judge(exact, chosen, wanted)}
            cases.append(case | {"points": len(line.keys), "looks": line.look})
    return cases


def _first(width: int, full: int) -> list[int]:
    """The first widths of a plan without a prior, those that tell most first."""
    nexts = [(width // modulus + 1) * modulus for modulus in (8, 32, 4)]
    return [width, width + 1, nexts[0], full, *nexts[1:]]


def capped(mode: Mode, cap: int, first: Sequence[int]) -> Mode:
    """A mode that times at most `cap` widths of a curve; `first` orders its first ones."""

    def start(width: int, full: int) -> list[int]:
        wanted = mode.start(width, full)
        ordered = [w for w in dict.fromkeys(first) if w in wanted]
        return sorted([*ordered, *(w for w in wanted if w not in ordered)][:cap])

    def more(curve: Curve, width: int, full: int) -> list[int]:
        room = max(0, cap - len(curve.widths))
        return mode.more(curve, width, full)[:room] if room else []

    return replace(mode, start=start, more=more)


# --- maps


def _maps(truth: Truth, parts: Sequence[Block], prior: Prior | None, seed: int) -> list[dict[str, Any]]:
    """Steps detected at each budget of points: by timed widths alone, and with the prior's forecast added."""
    session, snapshots = Session(prior) if prior else None, {}
    modes = [_stopping(block, session, snapshots) for block in parts]
    _follow(truth, parts, [block.full for block in parts], modes, seed)
    cases = []
    for (name, budget), (curve, claimed) in snapshots.items():
        exact = true_curve(truth, next(block for block in parts if block.name == name))
        found = {
            "what": "map",
            "block": name,
            "budget": budget,
            "points": len(curve.widths),
            **score_map(curve, exact),
        }
        if claimed is not None:
            found |= {"claimed": len(claimed), "right": len(claimed & true_steps(exact))}
        cases.append(found)
    return cases


def true_steps(exact: Curve) -> set[int]:
    """Widths after which the truth steps, as `benchmarks.planner.score_map` counts."""
    logs = dict(zip(exact.widths, np.diff(np.log(exact.latency_ms)).tolist(), strict=False))
    return {w for w, change in logs.items() if abs(change - _slope(logs, w)) > STEP and abs(change) > STEP}


def _stopping(block: Block, session: Session | None, snapshots: dict[Any, Any]) -> Mode:
    """A map that keeps a snapshot at each budget, the first look's only, and stops at the last."""
    plain = MODES["map"]
    guide = session.guiding(block.name, block.full, block.graph) if session else None
    budgets = BUDGETS if guide else PLAIN_BUDGETS

    def more(curve: Curve, width: int, full: int) -> list[int]:
        claimed = None
        if guide:
            guide.note(curve)
            forecast = guide.forecast()
            claimed = {step.before for step in forecast.steps()}
        count = len(curve.widths)
        for budget in budgets:
            if count <= budget:
                snapshots[block.name, budget] = (curve, claimed)  # the last one at or below the budget
        room = next((budget for budget in budgets if budget > count), 0) - count
        if room <= 0:
            return []
        if guide:
            return guided_map_more(forecast, curve, full, count + room)
        return plain.more(curve, width, full)[:room]

    start = guide_mode("map", guide).start if guide else plain.start
    return replace(plain, start=start, more=more, rounds=20, enough=lambda curve, width, full: True)


# --- real tables


def load_tables(paths: Sequence[str]) -> dict[str, list[TimedCurve]]:
    """Curves by engine or device: of hakd's latency tables, or of the recorded curves in `benchmarks/truth`."""
    blocks = {block.name: block for block in families()}
    found: dict[str, list[TimedCurve]] = defaultdict(list)
    for path in paths:
        frame = pd.read_csv(path) if Path(path).suffix == ".csv" else None
        if frame is None or "block" not in frame:
            frame, about = read_latency(path)
            found[str(about.get("fingerprint") or path)] += list(timed_curves(frame, about, path))
            continue
        for (engine, name), rows in frame.groupby(["engine", "block"], sort=False):
            block = blocks[str(name)]
            shape = block_shape(block.name, block.full, block.graph)
            widths, times = tuple(map(int, rows["width"])), tuple(map(float, rows["latency_ms"]))
            found[str(engine)].append(TimedCurve(shape, widths, times, RECORDED_RESIDUAL))
    return dict(found)


def recorded_cases(devices: Mapping[str, list[TimedCurve]]) -> list[dict[str, Any]]:
    """Each device held out: decisions replayed from its recorded curves, with a prior of all others and without."""
    cases = []
    for name, curves in devices.items():
        others = {other: found for other, found in devices.items() if other != name}
        prior = learn_prior(others) if others else None
        for kind, known in (("none", None), ("others", prior)):
            session = Session(known) if known else None
            for timed in curves:
                cases += [{"device": name, "prior": kind, **case} for case in _replayed(timed, session)]
    return cases


def _replayed(timed: TimedCurve, session: Session | None) -> list[dict[str, Any]]:
    """Decisions at a few widths of a recorded curve, which must hold every width up to its last."""
    name, full = timed.shape.group, timed.widths[-1]
    known = dict(zip(timed.widths, timed.latency_ms, strict=True))
    if set(known) != set(range(1, full + 1)):
        return []
    exact = _curve(name, known, known)
    cases = []
    for width in random.Random(f"{name} {full}").sample(
        range(max(1, full // 8), full), min(10, full - full // 8 - 1)
    ):
        alone = Session(session.prior) if session else None
        mode = guide_mode("targets", alone.guide(name, timed.shape)) if alone else MODES["targets"]
        widths = set(mode.start(width, full))
        for _ in range(mode.rounds):
            curve = _curve(name, known, widths)
            more = set(mode.more(curve, width, full)) - widths
            if not more:
                break
            widths |= more
        curve = _curve(name, known, widths)
        for reading in READINGS:
            wanted, chosen = (snap(one, width, full, reading).width_to for one in (exact, curve))
            case = {"what": "decision", "block": name, "width": width, "reading": reading, "cap": None}
            good = not judge(exact, chosen, wanted)
            cases.append(
                case | {"chosen": chosen, "wanted": wanted, "good": good, "points": len(widths), "looks": 1}
            )
    return cases


def _curve(name: str, known: Mapping[int, float], widths: Any) -> Curve:
    points = {
        w: Estimate(str(w), known[w], known[w], known[w], known[w], known[w], 1, 0, 2) for w in sorted(widths)
    }
    return make_curve(name, None, {}, points, RECORDED_RESIDUAL)


# --- reporting


def report(cases: Sequence[dict[str, Any]]) -> list[str]:
    """The tables, as Markdown."""
    made = [case for case in cases if case["what"] == "decision"]
    found = [case for case in cases if case["what"] == "map"]
    lines = [
        "| prior | most points | decisions | good | points a decision | looks |",
        "|---|---|---|---|---|---|",
    ]
    for (prior, cap), group in _by(made, lambda case: (case["prior"], case["cap"] or 0)):
        good = np.mean([case["good"] for case in group])
        points = [case["points"] for case in group]
        looks = np.mean([case["looks"] for case in group])
        words = f"{np.mean(points):.1f} (p90 {np.percentile(points, 90):.0f})"
        lines.append(f"| {prior} | {cap or '14'} | {len(group)} | {good:.1%} | {words} | {looks:.1f} |")
    lines += _worse(made)
    if found:
        lines.append("")
        lines.append(
            "| prior | points a map | steps > 3 % | detected by timed widths | predicted"
            " | right, of what is predicted |"
        )
        lines.append("|---|---|---|---|---|---|")
    for (prior, budget), group in _by(found, lambda case: (case["prior"], case["budget"])):
        steps = sum(case["steps"] for case in group)
        shown = sum(case["shown"] for case in group) / steps
        claimed = sum(case.get("claimed", 0) for case in group)
        right = sum(case.get("right", 0) for case in group)
        words = f"{right / steps:.1%} | {right / max(claimed, 1):.1%}" if "claimed" in group[0] else "- | -"
        points = np.mean([case["points"] for case in group])
        lines.append(f"| {prior} | {budget} ({points:.1f}) | {steps} | {shown:.1%} | {words} |")
    return lines


def _worse(made: Sequence[dict[str, Any]]) -> list[str]:
    """How often a prior changes what is decided well without one into something worse, and the other way round."""
    plain: dict[tuple[Any, ...], dict[str, Any]] = {}
    for case in made:
        if case["prior"] == "none" and case["cap"] is None:
            plain[_place(case)] = case
    lines = []
    for prior, group in _by(
        [c for c in made if c["prior"] != "none" and c["cap"] is None], lambda c: c["prior"]
    ):
        lost = sum(plain[_place(case)]["good"] and not case["good"] for case in group)
        won = sum(case["good"] and not plain[_place(case)]["good"] for case in group)
        more = [case["points"] - plain[_place(case)]["points"] for case in group]
        lines.append(
            f"{prior}: {lost} of {len(group)} decisions are no longer good, {won} are now; points against none:"
            f" mean {np.mean(more):+.1f}, most {max(more):+d}"
        )
    return ["", *lines]


def _place(case: Mapping[str, Any]) -> tuple[Any, ...]:
    return case["device"], case["block"], case["width"], case["reading"]


def _by(
    cases: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], Any]
) -> list[tuple[Any, list[dict[str, Any]]]]:
    groups = defaultdict(list)
    for case in cases:
        groups[key(case)].append(case)
    return sorted(groups.items(), key=lambda item: str(item[0]))


if __name__ == "__main__":
    sys.exit(main())
