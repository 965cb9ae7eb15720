"""Does the planner decide as all widths would, on real engines? Exhaustive truth first, live sweeps against it.

    python -m benchmarks.real_engines replay        # the plan on the recorded curves alone, from every width
    python -m benchmarks.real_engines record STORE [ENGINE ...]     # every width of six blocks, in eight processes
    python -m benchmarks.real_engines decide STORE [ENGINE ...]     # live sweeps at random widths, twice each
    python -m benchmarks.real_engines map STORE [ENGINE ...]        # a live map of each block
    python -m benchmarks.real_engines report [FILE.json ...]        # the tables, of what `decide` and `map` wrote

Everything is timed on `local` with one thread. The truth goes to `benchmarks/truth/ENGINE.csv`, cases to
`STORE/ENGINE-decide.json` and `STORE/ENGINE-map.json`; bursts stay in STORE, and a run that was stopped goes on.
"""

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.computed import Block, BlockLine, block_line, network_block, plain_block
from benchmarks.planner import judge, score_map
from hakd.boards import Board, Burst, Device, Point, Protocol, open_board
from hakd.choosing.snap import READINGS, snap
from hakd.networks.families import full_widths, network_spec
from hakd.records.arch import Architecture
from hakd.staircase.curve import TOLERANCE_FLOOR, Curve, curve_from, make_curve
from hakd.staircase.estimate import Estimate, estimate
from hakd.staircase.plan import extend, targets
from hakd.study.measuring import Measuring
from hakd.sweeping.following import follow
from hakd.sweeping.modes import MODES
from hakd.sweeping.parts import point

ENGINES = ("onnxruntime", "litert", "ncnn", "openvino")
TRUTH = Path(__file__).parent / "truth"
PASSES = 8
SESSIONS = 5
EXHAUSTIVE = Protocol(processes=1, rounds=10, chunk_points=200)  # a block's curve in one process
DECISIONS = (
    "| decisions | n | decided | good | good where decided | slower than the truth's: median, p95 | points"
    " | looks | same twice | as good twice | re-measured within 1 % |"
)
MAPS = (
    "| maps | points | trusted | steps > 3 % | localised | or shown by a modulus | or listed with a gap"
    " | false of quiet pairs |"
)
COLUMNS = ["engine", "block", "full", "width", "latency_ms", "low_ms", "high_ms", "residual_p95"]


def families() -> list[Block]:
    """Six families: 3x3 and 1x1 over outputs and over inputs, a depthwise-separable and a dense decision block."""
    found = [
        plain_block(kernel, side, 160, size, 64)
        for kernel, side, size in ((3, "out", 16), (1, "out", 16), (3, "in", 8), (1, "in", 8))
    ]
    for family, options, group in (
        ("mobilenet", {"multiplier": 0.3125, "input_size": 32}, "block9"),
        ("densenet", {"depth": 22, "growth": 32, "input_size": 16}, "block2.layer2"),
    ):
        spec = network_spec(family, {"family": family, **options}, 3, 10, "benchmark")
        full = full_widths(spec)
        found.append(network_block(Architecture(spec, full), group, full[group]))
    return found


def real_point(block: Block, channels: int, device: Device) -> Point:
    """A block at a width, with its model."""
    return point(block.graph(channels), f"{block.name} = {channels}", device, curve=block.name)


def device_of(engine: str) -> Device:
    """This machine with an engine, one thread."""
    return Device("local", engine=engine)


def record(engine: str, store: Path) -> None:
    """Time every width of every block, pass by pass, and write the truth."""
    parts, frames = families(), []
    with open_board(device_of(engine), store / f"{engine}-truth") as board:
        bursts: dict[str, dict[str, list[Burst]]] = {block.name: {} for block in parts}
        for number in range(1, PASSES + 1):
            for block in parts:
                _add(bursts[block.name], _pass(board, block, number))
            print(f"{engine}: pass {number} of {PASSES}", flush=True)
        for block in parts:
            frames.append(_truth_rows(engine, block, bursts[block.name], board.device))
    frame = pd.concat(frames, ignore_index=True)
    for name in ("latency_ms", "low_ms", "high_ms", "residual_p95"):
        frame[name] = frame[name].map("{:.5g}".format)
    TRUTH.mkdir(exist_ok=True)
    frame.to_csv(TRUTH / f"{engine}.csv", index=False)


def _pass(board: Board, block: Block, number: int) -> dict[str, list[Burst]]:
    points = [real_point(block, channels, board.device) for channels in range(1, block.full + 1)]
    return board.measure(points, EXHAUSTIVE, f"truth:pass{number}")


def _add(bursts: dict[str, list[Burst]], timed: Mapping[str, Sequence[Burst]]) -> None:
    for key, found in timed.items():
        bursts.setdefault(key, []).extend(found)


def _truth_rows(
    engine: str, block: Block, bursts: Mapping[str, Sequence[Burst]], device: Device
) -> pd.DataFrame:
    found = estimate(bursts)
    keys = {c: real_point(block, c, device).key for c in range(1, block.full + 1)}
    curve = curve_from(found, block.name, None, block.around, keys)
    rows = [
        (engine, block.name, block.full, *four, curve.residual_p95)
        for four in zip(curve.widths, curve.latency_ms, curve.low, curve.high, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def truth_of(engine: str) -> dict[str, Curve]:
    """The recorded curve of each block."""
    frame, found = pd.read_csv(TRUTH / f"{engine}.csv"), {}
    for name, rows in frame.groupby("block", sort=False):
        points = {
            int(r.width): Estimate(
                str(r.width), r.latency_ms, None, None, r.latency_ms, r.latency_ms, 1, 0, 2
            )
            for r in rows.itertuples()
        }
        found[str(name)] = make_curve(str(name), None, {}, points, float(rows["residual_p95"].iloc[0]))
    return found


def _sweep(engine: str, store: Path, widths: Sequence[int], mode: str) -> list[BlockLine]:
    device, parts = device_of(engine), families()
    lines = [
        block_line(block, width, MODES[mode], make_point=real_point)
        for block, width in zip(parts, widths, strict=True)
    ]
    with open_board(device, store) as board:
        follow(board, lines, Measuring(), real_point(parts[0], 64, device))
    return lines


def decide(engine: str, store: Path) -> None:
    """Sweeps at random widths, each made twice, judged by the truth."""
    exact, cases = truth_of(engine), []
    for session in range(SESSIONS):
        rng = random.Random(f"{engine} {session}")
        widths = [rng.randint(max(1, block.full // 8), block.full - 1) for block in families()]
        swept = [
            _sweep(engine, store / f"{engine}-decide-{session}{which}", widths, "targets") for which in "ab"
        ]
        print(f"{engine}: session {session + 1} of {SESSIONS}", flush=True)
        for one, other in zip(*swept, strict=True):
            true = exact[one.block.name]
            for reading in READINGS:
                cases.append({"engine": engine, "session": session, **_case(one, other, true, reading)})
    (store / f"{engine}-decide.json").write_text(json.dumps(cases))


def _case(one: BlockLine, other: BlockLine, true: Curve, reading: str) -> dict[str, Any]:
    curve, second = one.curve, other.curve
    assert curve is not None and second is not None
    wanted = snap(true, one.width, one.full, reading).width_to
    chosen, again = (snap(c, one.width, one.full, reading).width_to for c in (curve, second))
    shared = [w for w in curve.widths if w in second.widths]
    gaps = np.log([curve.at(w) / second.at(w) for w in shared])
    verdict = judge(true, chosen, wanted)
    return {
        "block": one.block.name,
        "width": one.width,
        "reading": reading,
        "wanted": wanted,
        "chosen": chosen,
        "again": again,
        "verdict": verdict,
        "good": not verdict,
        "alike": not judge(true, chosen, again) and not judge(true, again, chosen),
        "slower": true.at(chosen) / true.at(wanted) - 1,
        "against_pruned": true.at(chosen) / true.at(one.width) - 1,
        "decided": one.decided,
        "both_decided": one.decided and other.decided,
        "eps": curve.tolerance,
        "truth_eps": true.eps,
        "points": len(one.keys),
        "looks": one.look,
        "remeasured": list(gaps - np.median(gaps)),
    }


# --- the plan alone


def planned(true: Curve, width: int) -> Curve:
    """What the plan times of a recorded curve, its figures taken for exact."""
    full, widths = true.widths[-1], set(targets(width, true.widths[-1]))
    for _ in range(MODES["targets"].rounds):
        curve = part_of(true, widths)
        more = extend(curve, width, full)
        if not more:
            break
        widths |= set(more)
    return curve


def part_of(true: Curve, widths: Iterable[int]) -> Curve:
    """Some widths of a recorded curve, at the smallest tolerance."""
    points = {w: Estimate(str(w), true.at(w), None, None, true.at(w), true.at(w), 1, 0, 2) for w in widths}
    return make_curve(true.group, None, {}, points, TOLERANCE_FLOOR / 2)


def replay(true: Curve, step: int = 1) -> list[dict[str, Any]]:
    """The plan's decision from every `step`-th width of a recorded curve, judged by all widths."""
    full, everything = true.widths[-1], part_of(true, true.widths)
    cases = []
    for width in range(full // 8, full, step):
        curve = planned(true, width)
        for reading in READINGS:
            chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
            verdict = judge(everything, chosen, wanted)
            cases.append(
                {
                    "reading": reading,
                    "width": width,
                    "chosen": chosen,
                    "wanted": wanted,
                    "good": not verdict,
                    "narrower": "narrower" in verdict,
                    "lost": everything.at(chosen) > 1.01 * everything.at(width),
                    "points": len(curve.widths),
                }
            )
    return cases


def mapped(true: Curve) -> dict[str, Any]:
    """The map of a recorded curve, its figures taken for exact, and how its steps compare with all of them."""
    full, mode = true.widths[-1], MODES["map"]
    widths = set(mode.start(full, full))
    for _ in range(mode.rounds):
        curve = part_of(true, widths)
        widths |= set(mode.more(curve, full, full))
    found = score_map(curve, part_of(true, true.widths))
    return {"points": len(curve.widths), "trusted": True, **found}


def replays() -> list[str]:
    """A row per engine and block, as Markdown: decisions, then maps."""
    lines = [
        "| engine | block | decisions | `hakd` good | `hakd_free` good | points | slower than pruned by > 1 % |",
        "|---" * 7 + "|",
    ]
    everything, maps = [], []
    for engine in sorted(path.stem for path in TRUTH.glob("*.csv")):
        for block, true in truth_of(engine).items():
            cases = replay(true)
            everything += cases
            lines.append(_replay_row(engine, block, cases))
            maps.append({"engine": engine, "block": block, **mapped(true)})
    return [*lines, _replay_row("all", "", everything), "", *_map_rows(maps)]


def _replay_row(engine: str, block: str, cases: Sequence[dict[str, Any]]) -> str:
    good = [_share([c for c in cases if c["reading"] == reading], "good") for reading in READINGS]
    points = [case["points"] for case in cases]
    lost = sum(case["lost"] for case in cases)
    return (
        f"| {engine} | {block} | {len(cases)} | {' | '.join(good)} | {np.mean(points):.1f}, at most {max(points)} |"
        f" {lost} |"
    )


# --- maps


def map_blocks(engine: str, store: Path) -> None:
    """A map of each block, its steps against the truth's."""
    exact = truth_of(engine)
    lines = _sweep(engine, store / f"{engine}-map", [block.full for block in families()], "map")
    cases = [
        {
            "engine": engine,
            "block": line.block.name,
            "points": len(line.keys),
            "trusted": line.curve.trusted,
            "eps": line.curve.eps,
            **score_map(line.curve, exact[line.block.name]),
        }
        for line in lines
        if line.curve is not None
    ]
    (store / f"{engine}-map.json").write_text(json.dumps(cases))


# --- reporting


def report(files: Iterable[Path]) -> list[str]:
    """The tables, as Markdown."""
    cases = [case for file in files for case in json.loads(file.read_text())]
    decisions = [case for case in cases if "reading" in case]
    found = [case for case in cases if "steps" in case]
    lines = [DECISIONS, "|---" * 11 + "|"]
    for name, group in _groups(decisions):
        decided = [case for case in group if case["decided"]]
        gaps = np.abs([g for case in group if case["both_decided"] for g in case["remeasured"]])
        slower = [case["slower"] for case in decided] or [np.nan]
        row = (
            name,
            str(len(group)),
            _share(group, "decided"),
            _share(group, "good"),
            _share(decided, "good"),
            f"{np.median(slower):+.1%}, {np.percentile(slower, 95):+.1%}",
            f"{np.mean([case['points'] for case in group]):.1f}",
            f"{np.mean([case['looks'] for case in group]):.1f}",
            f"{np.mean([case['chosen'] == case['again'] for case in group]):.1%}",
            _share(group, "alike"),
            f"{np.mean(gaps < 0.01):.1%}" if gaps.size else "-",
        )
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, "", *_map_rows(found)] if found else lines


def _map_rows(found: Sequence[dict[str, Any]]) -> list[str]:
    lines = [MAPS, "|---" * 8 + "|"]
    for case in found:
        lines.append(_map_row(f"{case['engine']} {case['block']}", [case]))
    return [*lines, _map_row("all", found)]


def _map_row(name: str, cases: Sequence[dict[str, Any]]) -> str:
    total = {
        key: sum(case[key] for case in cases)
        for key in ("steps", "localised", "shown", "listed", "false", "quiet", "trusted", "points")
    }
    shares = [
        f"{total[key]} ({total[key] / max(total['steps'], 1):.1%})"
        for key in ("localised", "shown", "listed")
    ]
    return (
        f"| {name} | {total['points'] / len(cases):.1f} | {total['trusted']} of {len(cases)} | {total['steps']} |"
        f" {' | '.join(shares)} | {total['false']} of {total['quiet']} |"
    )


def _groups(cases: Sequence[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    if cases:
        yield "all", list(cases)
    for key in ("engine", "reading", "block"):
        for value in dict.fromkeys(case[key] for case in cases):
            yield str(value), [case for case in cases if case[key] == value]


def _share(cases: Sequence[Mapping[str, Any]], key: str) -> str:
    return f"{np.mean([case[key] for case in cases]):.1%}" if cases else "-"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["replay", "record", "decide", "map", "report"])
    parser.add_argument("paths", nargs="*", metavar="PATH", help="STORE [ENGINE ...], or files to report")
    arguments = parser.parse_args()
    if arguments.what == "replay":
        print("\n".join(replays()))
        return
    if not arguments.paths:
        parser.error(f"{arguments.what} needs a store, or files")
    if arguments.what == "report":
        print("\n".join(report(map(Path, arguments.paths))))
        return
    store, *engines = arguments.paths
    Path(store).mkdir(parents=True, exist_ok=True)
    for engine in engines or ENGINES:
        {"record": record, "decide": decide, "map": map_blocks}[arguments.what](engine, Path(store))


if __name__ == "__main__":
    main()
