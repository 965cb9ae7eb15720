"""Time the decision blocks and tiles of a network on a device."""

from hakd.records.arch import architecture_from
from hakd.records.files import read_json
from hakd.records.tables import write_table
from hakd.study.scripting import reporting
from hakd.sweeping.sweep import sweep


def main(name, device, store, widths_paths, path_to_table):
    """Write the latency table."""
    levels = {}
    for path in widths_paths:
        content = read_json(path, "widths")
        levels[content["level"]] = {
            method: architecture_from(entry, path) for method, entry in content["methods"].items()
        }
    frame, metadata = sweep(name, device, store, levels)
    write_table(path_to_table, "latency", frame, metadata)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.device,
            {**snakemake.params.device, **snakemake.params.reach},
            snakemake.params.store,
            snakemake.input.widths,
            snakemake.output[0],
        )
