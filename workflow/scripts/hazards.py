"""By how much pruning a few channels of a layer can slow it down on a device."""

from hakd.latency_tables.hazards import hazard_table
from hakd.records.tables import read_table, write_table
from hakd.study.scripting import reporting


def main(latency_paths, path_to_table):
    """Write a row per curve of the device's latency tables."""
    tables = [read_table(path, "latency") for path in latency_paths]
    write_table(path_to_table, "hazards", hazard_table(tables))


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.latency, snakemake.output[0])
