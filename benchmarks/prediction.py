"""Latency predicted from a network's parts, against whole networks timed end to end, on this machine.

    python -m benchmarks.prediction --store FOLDER [--engine onnxruntime] [--seconds 200] [--out cases.csv]
    python -m benchmarks.prediction --trace

Networks of random prunings, rounded, snapped and uniform widths are timed as a study does it: parts by the sweep's
protocol, whole networks in fresh processes. What is in the store is not timed again: a run that stops after `--seconds`
goes on when it is called again, and prints the tables of what is complete. `--trace` asks ONNX Runtime's own profile
which nodes tiles have that the whole network does not.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from benchmarks.joint_choice import pruning  # noqa: E402
from hakd.boards import Board, open_board  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.networks.families import full_architecture, full_widths, network_spec  # noqa: E402
from hakd.networks.onnx_model import stand_in_weights, to_onnx  # noqa: E402
from hakd.records.arch import Architecture, NetworkSpec  # noqa: E402
from hakd.records.files import digest  # noqa: E402
from hakd.records.graph import Graph  # noqa: E402
from hakd.staircase.correction import correct, correct_left_out, quality  # noqa: E402
from hakd.staircase.predict import SMALL_MS, predict_left_out  # noqa: E402
from hakd.study.measuring import Measuring, device_from  # noqa: E402
from hakd.sweeping.parts import (  # noqa: E402
    engine_graph,
    network_point,
)
from hakd.sweeping.seams import Parts, tie_points, time_parts  # noqa: E402
from hakd.sweeping.timing import end_to_end  # noqa: E402

NETWORKS = {
    "mobilenet-0.5": {"family": "mobilenet", "multiplier": 0.5, "input_size": 32},
    "mobilenet-0.75": {"family": "mobilenet", "multiplier": 0.75, "input_size": 32},
    "mobilenet-1.0": {"family": "mobilenet", "multiplier": 1.0, "input_size": 32},
    "densenet-22": {"family": "densenet", "depth": 22, "growth": 12, "input_size": 32},
    "densenet-40": {"family": "densenet", "depth": 40, "growth": 12, "input_size": 32},
}
LEVELS = (0.5, 0.35)
METHODS = ("fisher", "round16", "uniform", "uniform_aligned")
MULTIPLES = (4, 8, 16)  # a snapped width is a multiple of one of these, drawn by group
CALLS, WARM = 400, 50  # of a traced part
PLACES = {"Conv": "conv", "FusedConv": "conv", "ReorderInput": "into", "ReorderOutput": "out"}


def networks(spec: NetworkSpec, number: int, draw: int = 0) -> dict[str, Architecture]:
    """Architectures by method at one of `LEVELS`: a random pruning (others in every draw) and what becomes of it."""
    full = full_widths(spec)
    level, seed = LEVELS[number], number + len(LEVELS) * draw
    pruned, _ = pruning(spec, seed, level)
    free = choose_device_free(pruned, level, seed)
    rng = np.random.default_rng(seed)
    multiples = {group: int(rng.choice(MULTIPLES)) for group in full}
    snapped = {g: min(-(-w // multiples[g]) * multiples[g], full[g]) for g, w in pruned.widths.items()}
    found = {"full": full_architecture(spec)} if number == 0 else {}
    return found | {m: free[m] for m in METHODS} | {"snapped": Architecture(spec, snapped)}


def measured(store: Path, settings: dict, seconds: float, draw: int = 0) -> Iterator[dict]:
    """A row per network, from the store or timed now; ends early when the time is over."""
    start = time.monotonic()
    device, measuring = device_from("local", settings)
    for number, name in itertools.product(range(len(LEVELS)), NETWORKS):
        if time.monotonic() - start > seconds:
            print("time is over; run again to go on", flush=True)
            return
        made = networks(network_spec(name, NETWORKS[name], 3, 10), number, draw)
        archs = {one.arch: one for one in made.values()}
        with open_board(device, store) as board:
            whole, parts = timed(board, archs, measuring)
        for method, one in made.items():
            if one.arch in parts and one.arch in whole:
                found = parts[one.arch]
                yield {
                    "network": name,
                    "level": LEVELS[number],
                    "method": method,
                    "arch": one.arch,
                    "tiles": len(found.tiles_ms),
                    "measured_ms": whole[one.arch],
                    "sum_ms": found.sum_ms,
                    "seams_ms": found.joined_ms / found.pace,
                    "pace": found.pace,
                }
        print(f"{name} at {LEVELS[number]}: {time.monotonic() - start:.0f} s", flush=True)


def timed(
    board: Board, archs: Mapping[str, Architecture], measuring: Measuring
) -> tuple[dict[str, float], dict[str, Parts]]:
    """Latencies of whole networks, and what their parts take, by arch: timed as a study's benchmark times them."""
    made = {arch: network_point(one, board.device) for arch, one in archs.items()}
    ties = tie_points(list(archs.values()), board.device)
    points = [*made.values(), *ties]
    purpose = "prediction:" + digest(sorted({one.key for one in points}))
    found = end_to_end(board, points, measuring, purpose).by_key
    beside = {one.key: found[one.key].latency_ms for one in ties if one.key in found}
    whole = {arch: found[one.key].latency_ms for arch, one in made.items() if one.key in found}
    return whole, time_parts(board, list(archs.values()), measuring, beside)


def predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions (ms) of all networks by every correction; none is fitted to the network it predicts."""
    whole, sums, alone = frame["measured_ms"], frame["sum_ms"], frame["seams_ms"]
    seams = alone * frame["pace"]
    families = list(frame["network"])
    return pd.DataFrame(
        {
            "sum of tiles": sums,
            "one overhead per tile": predict_left_out(sums, whole, list(frame["tiles"])),
            "one factor": predict_left_out(sums, whole),
            "seams": alone,
            "seams, refit": correct_left_out(alone, whole),
            "seams and pace": seams,
            "seams and pace, refit": correct_left_out(seams, whole),
            "seams and pace, refit by other networks": correct_left_out(seams, whole, families),
        }
    )


def report(frame: pd.DataFrame) -> str:
    """Tables as Markdown: shares by correction, networks that miss 5 %."""
    made = predictions(frame)
    large = frame["measured_ms"] >= SMALL_MS
    lines = [
        f"{len(frame)} networks, {int(large.sum())} of at least {SMALL_MS} ms",
        "",
        "| prediction | lowest | median | highest | within 5 % | within 10 % |",
        "|---|---|---|---|---|---|",
    ]
    for name in made:
        one = quality(made[name], frame["measured_ms"], SMALL_MS)
        if one is not None:
            ends = f"{one.lowest:.2f} | {one.median:.2f} | {one.highest:.2f}"
            lines.append(f"| {name} | {ends} | {one.within_5:.0%} | {one.within_10:.0%} |")
    lines += ["", f"{correct(frame['seams_ms'] * frame['pace'], frame['measured_ms'])}"]
    lines += [
        "",
        "| network | level | method | us | sum | seams | pace | refit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    shown = ("sum of tiles", "seams", "seams and pace", "seams and pace, refit")
    for i in frame.index:
        ratios = [made[name][i] / frame["measured_ms"][i] for name in shown]
        row = frame.loc[i]
        mark = " *" if large[i] and abs(ratios[-1] - 1) > 0.05 else ""
        figures = " | ".join(f"{one:.3f}" for one in ratios)
        named = f"{row['network']} | {row['level']} | {row['method']}"
        lines.append(f"| {named} | {row['measured_ms'] * 1e3:.0f} | {figures}{mark} |")
    return "\n".join(lines)


def nodes(graph: Graph, folder: str) -> tuple[dict[str, tuple[int, float]], float]:
    """{kind of node: (how many, microseconds of all)} by ONNX Runtime's profile, and us of a call without profiling."""
    import onnxruntime

    model = to_onnx(graph, stand_in_weights(graph)).SerializeToString()
    shape = (1, *graph.tensors[graph.inputs[0]].shape)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found: dict[str, tuple[int, float]] = {}
    for profiled in (True, False):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = profiled
        options.profile_file_prefix = os.path.join(folder, "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding, put = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy(x)
        binding.bind_ortvalue_input(session.get_inputs()[0].name, put)
        binding.bind_output(session.get_outputs()[0].name)
        took = []
        for _ in range(CALLS):
            start = time.perf_counter_ns()
            session.run_with_iobinding(binding)
            took.append(time.perf_counter_ns() - start)
        if profiled:
            found = _by_kind(Path(session.end_profiling()))
    return found, float(np.percentile(took[WARM:], 25)) / 1e3


def _by_kind(path: Path) -> dict[str, tuple[int, float]]:
    """{kind of node: (how many, mean microseconds added up)} of a profile."""
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in json.loads(path.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            took[event["args"]["op_name"], event["name"]].append(event["dur"])
    found: dict[str, tuple[int, float]] = {}
    for (kind, _), durations in took.items():
        count, total = found.get(kind, (0, 0.0))
        found[kind] = (count + 1, total + float(np.mean(durations[WARM:])))
    return found


def trace(cases: Sequence[tuple[str, float, str]]) -> str:
    """A table: nodes of whole networks and of their tiles timed alone, by kind."""
    lines = ["| network | | us | convolutions | into blocks | out of blocks | other nodes |"]
    lines += ["|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name, multiplier, method in cases:
            settings = {"family": "mobilenet", "multiplier": multiplier, "input_size": 32}
            if name == "densenet":
                settings = {"family": "densenet", "depth": 22, "growth": 12, "input_size": 32}
            graph = engine_graph(networks(network_spec(name, settings, 3, 10), 0)[method])
            label = f"{name} {multiplier:g}, {method}" if name == "mobilenet" else f"{name}, {method}"
            lines.append(_line(label, "whole", [nodes(graph, folder)]))
            alone = [nodes(tile, folder) for tile in graph.tiles().values()]
            lines.append(_line("", f"{len(alone)} tiles", alone))
    return "\n".join(lines)


def _line(name: str, what: str, parts: Sequence[tuple[dict[str, tuple[int, float]], float]]) -> str:
    """A row of the trace: counts, and in parentheses microseconds by the profile."""
    total: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for kinds, _ in parts:
        for kind, (count, took) in kinds.items():
            place = PLACES.get(kind, "other")
            total[place][0] += count
            total[place][1] += took
    cells = [f"{total[p][0]} ({total[p][1]:.0f})" for p in ("conv", "into", "out", "other")]
    return f"| {name} | {what} | {sum(us for _, us in parts):.0f} | {' | '.join(cells)} |"


TRACED = (
    ("mobilenet", 0.25, "full"),
    ("mobilenet", 0.25, "fisher"),
    ("mobilenet", 1.0, "full"),
    ("mobilenet", 1.0, "fisher"),
    ("densenet", 0.0, "full"),
)


def main() -> None:
    """Print the tables; write all cases as CSV where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="folder of measurements, made if it is not there")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--seconds", type=float, default=200, help="begin no further network after so long")
    parser.add_argument("--draw", type=int, default=0, help="number of the set of random prunings")
    parser.add_argument("--out", help="CSV of all cases")
    parser.add_argument("--trace", action="store_true", help="profile tiles and networks instead")
    given = parser.parse_args()
    if given.trace:
        print(trace(TRACED))
        return
    if given.store is None:
        parser.error("--store is needed")
    settings = {"transport": "local", "engine": given.engine, "threads": 1, "min_step": 0.1}
    frame = pd.DataFrame(measured(given.store, settings, given.seconds, given.draw)).drop_duplicates("arch")
    if given.out:
        frame.to_csv(given.out, index=False)
    print(report(frame.reset_index(drop=True)))


if __name__ == "__main__":
    main()
