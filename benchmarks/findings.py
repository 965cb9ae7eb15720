"""The tables of docs/measured/built_in.md, cluttered.md and science.md, from the results of a finished study:

python -m benchmarks.findings runs/cluttered/results
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hakd.analysis.series import on_their_devices, series_name, several_budgets
from hakd.analysis.summary import aggregate, to_markdown
from hakd.records.files import read_json
from hakd.records.tables import read_table


def candidates(frame: pd.DataFrame) -> str:
    """All candidates, averaged over seeds, fastest first."""
    table = aggregate(on_their_devices(frame)).sort_values(["network", "device", "latency_ms"])
    table["budget"] = several_budgets(table)
    half = (table["accuracy_high"] - table["accuracy_low"]) / 2
    shown = pd.DataFrame(
        {
            "network": table["network"],
            "device": table["device"],
            "method": [series_name(row.method, None, row.budget) for row in table.itertuples()],
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


def contrasts(table: pd.DataFrame) -> str:
    """The declared contrasts: differences of accuracy at equal measured latency or size, in points, and verdicts."""
    table = table[table["scope"] != "at"]  # the means over shared latencies, and what shares none
    shown = pd.DataFrame(
        {
            "contrast": table["contrast"],
            "network": table["network"],
            "device": table["device"],
            "seeds": table["seeds"],
            "a (%)": 100 * table["accuracy_a"],
            "b (%)": 100 * table["accuracy_b"],
            "difference": 100 * table["difference"],
            "low": 100 * table["low"],
            "high": 100 * table["high"],
            "p (Holm)": table["p_holm"],
            "detectable": 100 * table["detectable"],
            "more accurate": table["verdict"],
        }
    )
    signed = dict.fromkeys(("difference", "low", "high"), "+.2f")
    plain = dict.fromkeys(("a (%)", "b (%)", "detectable"), ".2f")
    return to_markdown(shown, signed | plain | {"p (Holm)": ".3f"})


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
            f"decided, residual p95 median {residual.median():.1%}, largest {residual.max():.1%}; "
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
    print("## Candidates\n\n" + candidates(frame))
    if (results / "contrasts.csv").exists():  # a study may declare none
        print("## Contrasts\n\n" + contrasts(pd.read_csv(results / "contrasts.csv")))
    print("## Predicted latency\n\n" + predictions_of_latency(frame))
    print("## Sweeps and choices\n\n" + sweeps(results))
    for name, device in metadata["devices"].items():
        context = device["device"]["context"]
        print(
            f"## {name}\n\n{device['device']['engine']}, {context['cpu_model']}, kernel {context['kernel']}"
        )


if __name__ == "__main__":
    main()
