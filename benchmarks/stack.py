"""Which conclusions of the characterisation across the stack hold in a study? Tables from the study's summary.

The conclusions are those of arXiv 1809.07196: channel pruning beats weight pruning in time; MACs are a poor proxy of
time; quantisation pays on some engines only; the size of a file is not the memory of a run; threads help little. Times
are end-to-end latencies, medians over bursts. A comparison is within a device, but for precisions: there it is between
devices of the same engine and threads. Run it on the folder of a finished study of `config/stack.yaml`:

    python -m benchmarks.stack FOLDER [--within 0.01]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hakd.analysis.series import chosen_there
from hakd.analysis.summary import aggregate

CHANNELS = ("fisher", "hakd", "joint", "round16")
FEW = 6
WEIGHTS = ("weight_pruning", "deep_compression", "ternary")


def channels_or_weights(rows: pd.DataFrame, within: float) -> list[list[object]]:
    """By network and device: the teacher's latency, and the ratio to it of each kind's fastest accurate network."""
    table: list[list[object]] = []
    for (network, device), own in rows.groupby(["network", "device"]):
        teacher = own[own["method"] == "teacher"].iloc[0]
        accurate = own[own["val_accuracy"] >= teacher["val_accuracy"] - within]
        line: list[object] = [network, device, number(teacher["latency_ms"])]
        for kind in (CHANNELS, WEIGHTS):
            some = accurate[accurate["method"].isin(kind)]
            if some.empty:
                line.append("none")
                continue
            best = some.loc[some["latency_ms"].idxmin()]
            ratio = best["latency_ms"] / teacher["latency_ms"]
            line.append(f"{ratio:.2f} ({best['method']} {best['level']:g})")
        table.append(line)
    return table


def proxies(rows: pd.DataFrame) -> list[list[object]]:
    """By network and device: Spearman's rank correlation of latency with counts and sizes, over different networks.

    Networks of the same widths have the same MACs: they count once there, elsewhere once per number of zeros.
    Nothing is given for fewer than `FEW` of them.
    """
    table: list[list[object]] = []
    for (network, device), own in rows.groupby(["network", "device"]):
        widths = own.drop_duplicates(["macs", "params"])
        weights = own.drop_duplicates(["macs", "params", "nonzero_params"])
        line: list[object] = [network, device]
        for name in ("macs", "nonzero_params", "size_bytes", "memory_bytes"):
            some = widths if name == "macs" else weights
            some = some[some[name].notna()]
            known = len(some) >= FEW and some[name].nunique() > 1
            found = f"{spearmanr(some[name], some['latency_ms']).statistic:.2f}" if known else "too few"
            line.append(f"{found} ({len(some)})")
        table.append(line)
    return table


def precisions(rows: pd.DataFrame) -> list[list[object]]:
    """By network, engine and threads, of the teacher: latency in float32 and int8, and what int8 changes."""
    teachers = rows[rows["method"] == "teacher"]
    table: list[list[object]] = []
    for (network, engine, threads), own in teachers.groupby(["network", "engine", "threads"]):
        by = own.drop_duplicates("precision").set_index("precision")
        if not {"float32", "int8"} <= set(by.index):
            continue
        plain, whole = by.loc["float32"], by.loc["int8"]
        table.append(
            [
                network, engine, threads, number(plain["latency_ms"]), number(whole["latency_ms"]),
                f"{plain['latency_ms'] / whole['latency_ms']:.2f}",
                f"{100 * (whole['accuracy'] - plain['accuracy']):+.2f}",
                f"{plain['size_bytes'] / whole['size_bytes']:.2f}",
                f"{plain['memory_bytes'] / whole['memory_bytes']:.2f}",
            ]
        )  # fmt: skip
    return table


def size_and_memory(rows: pd.DataFrame) -> list[list[object]]:
    """By network, device and method, at its lowest level: the teacher's file and memory over the candidate's."""
    table: list[list[object]] = []
    for (network, device), own in rows.groupby(["network", "device"]):
        teacher = own[own["method"] == "teacher"].iloc[0]
        others = own[own["method"].isin([*WEIGHTS, "joint"])].sort_values(["level", "size_bytes"])
        for method, some in others.groupby("method", sort=False):
            one = some.iloc[0]
            ratios = [teacher[name] / one[name] for name in ("size_bytes", "memory_bytes", "latency_ms")]
            table.append([network, device, f"{method} {one['level']:g}", *(f"{each:.2f}" for each in ratios)])
    return table


def threads(rows: pd.DataFrame) -> list[list[object]]:
    """By network, board and method: the median speed-up with the most threads, over levels with equal widths."""
    table: list[list[object]] = []
    for (network, board), own in rows.groupby(["network", "board"]):
        most = own[(own["threads"] == own["threads"].max()) & own["same_network"]]
        for method, some in most.groupby("method"):
            table.append([network, board, method, most["threads"].iloc[0], f"{some['speedup'].median():.2f}"])
    return table


def number(value: float) -> str:
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def show(title: str, columns: Sequence[str], table: Sequence[Sequence[object]]) -> None:
    """A table in Markdown; nothing for one without rows."""
    if table:
        print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        print("\n".join(f"| {' | '.join(map(str, line))} |" for line in table))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder of a finished study: what holds results/")
    parser.add_argument(
        "--within",
        type=float,
        default=0.01,
        help="accuracy that a network may lose to the teacher, on validation",
    )
    arguments = parser.parse_args()
    frame = pd.read_parquet(arguments.folder / "results/summary.parquet")
    rows = aggregate(frame)
    rows = rows[chosen_there(rows)]
    rows["precision"] = rows["device"].map(frame.drop_duplicates("device").set_index("device")["precision"])
    where = ["network", "device"]
    lost = f"within {100 * arguments.within:g} points of the teacher"
    show(
        "Channels or weights", [*where, "teacher, ms", f"channels, {lost}", f"weights, {lost}"],
        channels_or_weights(rows, arguments.within),
    )  # fmt: skip
    show(
        "What ranks as latency does", [*where, "MACs (networks)", "nonzero parameters", "file", "peak memory"],
        proxies(rows),
    )  # fmt: skip
    show(
        "int8",
        [
            "network", "engine", "threads", "float32, ms", "int8, ms", "times as fast", "accuracy, points",
            "file, times smaller", "memory, times smaller",
        ],
        precisions(rows),
    )  # fmt: skip
    show(
        "File and memory, times smaller than the teacher's", [*where, "method, level", "file", "memory", "latency"],
        size_and_memory(rows),
    )  # fmt: skip
    speedups = arguments.folder / "results/speedup.csv"
    if speedups.exists():
        show("Threads", ["network", "board", "method", "threads", "speed-up"], threads(pd.read_csv(speedups)))


if __name__ == "__main__":
    main()
