"""Plot the latency staircases with the pruned and chosen widths."""

import pandas as pd

from hakd.plots.staircases import staircase_figure
from hakd.records.files import read_json
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(latency_paths, snap_paths, path_to_plot):
    """Write pages per device, network and level."""
    tables, notes = {}, {}
    for path in latency_paths:
        frame, metadata = read_table(path, "latency")
        name = metadata["device"]
        tables.setdefault(name, []).append(frame)
        context = metadata["context"]
        notes[name] = (
            f"{metadata['engine']} {metadata['engine_version']}, {context['threads']} thread(s), "
            f"{context.get('cpu_model') or 'unknown processor'}"
            + (", int8" if context.get("precision") == "int8" else "")
        )
    choices = [
        record
        for path in snap_paths
        for entry in read_json(path, "snap")["methods"].values()
        for record in entry["choices"]
    ]
    staircase_figure(
        {name: pd.concat(frames) for name, frames in tables.items()}, choices, path_to_plot, notes
    )


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.latency, snakemake.input.snaps, snakemake.output[0])
