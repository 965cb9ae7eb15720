"""The tables of docs/findings.md, from the results of a finished study:

python -m benchmarks.findings runs/cluttered/results
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hakd.analysis.comparison import compare
from hakd.analysis.summary import aggregate, to_markdown
from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.records.tables import read_table

PAIRS = [
    ("hakd/tuned", "fisher/tuned"),
    ("hakd/tuned", "round16/tuned"),
    ("hakd_free/tuned", "fisher/tuned"),
    ("hakd_free/tuned", "round16/tuned"),
    ("hakd_free/tuned", "hakd/tuned"),
    ("round16/tuned", "fisher/tuned"),
    ("hakd_free/distilled", "fisher/distilled"),
    ("hakd_free/distilled", "round16/distilled"),
    ("hakd_free/distilled", "uniform_aligned/distilled"),
    ("hakd_free/distilled", "uniform/distilled"),
    ("hakd_free/distilled", "random/distilled"),
    ("joint/distilled", "fisher/distilled"),
    ("joint/distilled", "hakd_free/distilled"),
    ("joint/distilled", "round16/distilled"),
    ("joint/distilled", "uniform_aligned/distilled"),
    ("hakd/distilled", "fisher/distilled"),
    ("hakd/distilled", "round16/distilled"),
    ("hakd/distilled", "hakd/scratch"),
    ("hakd/distilled", "hakd/tuned"),
    ("fisher/distilled", "fisher/scratch"),
    ("fisher/tuned", "fisher/scratch"),
    ("round16/distilled", "uniform_aligned/distilled"),
]


def candidates(frame: pd.DataFrame) -> str:
    """All candidates, averaged over seeds, fastest first."""
    table = aggregate(frame).sort_values(["network", "latency_ms"])
    half = (table["accuracy_high"] - table["accuracy_low"]) / 2
    shown = pd.DataFrame(
        {
            "network": table["network"],
            "method": table["method"],
            "level": table["level"],
            "recipe": table["recipe"] + " " + table["loss"],
            "latency (us)": 1e3 * table["latency_ms"],
            "low": 1e3 * table["latency_low_ms"],
            "high": 1e3 * table["latency_high_ms"],
            "accuracy (%)": 100 * table["accuracy"],
            "+-": 100 * half,
            "size (kB)": table["size_bytes"] / 1e3,
            "MMACs": table["macs"] / 1e6,
            "trusted": table["trusted"],
        }
    )
    formats = dict.fromkeys(("latency (us)", "low", "high", "size (kB)"), ".0f")
    return to_markdown(shown, formats | {"accuracy (%)": ".2f", "+-": ".2f", "MMACs": ".2f", "level": "g"})


def comparisons(frame: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Accuracy differences at equal measured latency, in points, with 95 % intervals over seeds and images."""
    rows = []
    for a, b in PAIRS:
        try:
            found = compare(frame, a, b, predictions=predictions)
        except HakdError:
            continue  # this study has no such candidates
        rows += [{"a": a, "b": b, **row} for row in found.to_dict("records")]
    if not rows:
        return "none of the pairs shares a latency\n"
    table = pd.DataFrame(rows)
    for name in ("difference", "low", "high", "low_seeds", "high_seeds"):
        table[name] *= 100
    table["latency (us)"] = 1e3 * table["latency_ms"]
    columns = [
        "network",
        "a",
        "b",
        "scope",
        "latency (us)",
        "difference",
        "low",
        "high",
        "low_seeds",
        "high_seeds",
    ]
    formats = dict.fromkeys(columns[5:], "+.2f")
    return to_markdown(table[columns], formats | {"latency (us)": ".0f"})


def predictions_of_latency(frame: pd.DataFrame) -> str:
    """Predicted against measured, over all candidates and over those of at least 0.2 ms."""
    lines = []
    for name, part in (("all", frame), ("at least 0.2 ms", frame[frame["latency_ms"] >= 0.2])):
        ratio = (part["predicted_ms"] / part["latency_ms"]).dropna()
        if len(ratio):
            inside = [100 * np.mean(abs(ratio - 1) <= limit) for limit in (0.05, 0.10)]
            lines.append(
                f"- {name}: {len(ratio)} candidates, predicted / measured {ratio.min():.2f} to {ratio.max():.2f}, "
                f"median {ratio.median():.2f}; within 5 %: {inside[0]:.0f} %, within 10 %: {inside[1]:.0f} %"
            )
    worst = frame.assign(ratio=frame["predicted_ms"] / frame["latency_ms"]).dropna(subset=["ratio"])
    worst = worst.iloc[(worst["ratio"] - 1).abs().argsort()[::-1][:6]]
    lines += [
        f"  - {r.candidate}: {1e3 * r.latency_ms:.0f} us, ratio {r.ratio:.2f}" for r in worst.itertuples()
    ]
    return "\n".join(lines) + "\n"


def sweeps(results: Path) -> str:
    """Trust, residuals, dropped bursts and verification, by latency table and snap file."""
    lines = []
    for path in sorted(results.glob("*/latency/*.parquet")):
        table, metadata = read_table(path, "latency")
        residual = table[table["kind"] == "block"].groupby(["level", "group"])["residual_p95"].first()
        dropped = table["dropped"].sum() / (table["dropped"].sum() + table["bursts"].sum())
        lines.append(
            f"- {path.parts[-3]} on {metadata['device']}: {metadata['curves_decided']} of {metadata['curves']} curves "
            f"told, residual p95 median {residual.median():.1%}, largest {residual.max():.1%}; "
            f"{dropped:.0%} of bursts dropped; {metadata.get('seconds', float('nan')):.0f} s"
        )
    for path in sorted(results.glob("*/snap/*/*.json")):
        for method, entry in read_json(path, "snap")["methods"].items():
            repair = entry["repair"]
            steps = [
                f"{s['ratio']:.3f} [{s['ratio_low']:.3f}, {s['ratio_high']:.3f}]" for s in repair["steps"]
            ]
            if "budget" in repair:  # widths chosen together
                shrinkage = "" if repair["shrinkage"] is None else f", shrinkage {repair['shrinkage']:+.1%}"
                done = f"{repair['points']} combinations{shrinkage}; chosen / budget"
            else:
                done = f"{len(repair['kept'])} moves kept, {len(repair['undone'])} undone; snapped / twin"
            timed = ", ".join(steps) or "not timed: nothing moved"
            lines.append(f"- {path.parts[-4]} at {path.parts[-2]}, {method}: {done} {timed}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the results folder of a study")
    results = parser.parse_args().results
    frame, metadata = read_table(results / "summary.parquet", "summary")
    parts = [
        read_table(path, "predictions")[0] for path in sorted(results.glob("devices/*/predictions.parquet"))
    ]
    print("## Candidates\n\n" + candidates(frame))
    print("## At equal measured latency\n\n" + comparisons(frame, pd.concat(parts)))
    print("## Predicted latency\n\n" + predictions_of_latency(frame))
    print("## Sweeps and choices\n\n" + sweeps(results))
    for name, device in metadata["devices"].items():
        context = device["device"]["context"]
        print(
            f"## {name}\n\n{device['device']['engine']}, {context['cpu_model']}, kernel {context['kernel']}"
        )


if __name__ == "__main__":
    main()
