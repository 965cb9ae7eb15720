"""Summary of a device: what candidates are, how fast they ran, how right they were."""

import pandas as pd

from hakd.analysis.summary import summarise
from hakd.records.files import read_json
from hakd.records.tables import read_table, write_table
from hakd.study.scripting import reporting


def main(candidates_paths, path_to_benchmark, path_to_predictions, path_to_summary):
    """Write a row per candidate."""
    entries = [entry for path in candidates_paths for entry in read_json(path, "candidates")["candidates"]]
    measured = read_json(path_to_benchmark, "benchmark")
    predictions, _ = read_table(path_to_predictions, "predictions")
    device = measured["device"]
    info = {"device": device["name"], "engine": device["engine"], "threads": device["threads"]}
    info["precision"] = device["precision"]
    rows = pd.DataFrame(measured["rows"]).rename(columns={"latency_low_ms": "low", "latency_high_ms": "high"})
    frame = summarise(entries, rows, predictions, info)
    extra = {key: measured[key] for key in ("device", "protocol", "residual_p95", "trust", "audit")}
    write_table(path_to_summary, "summary", frame, extra)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.input.candidates,
            snakemake.input.benchmark,
            snakemake.input.predictions,
            snakemake.output[0],
        )
