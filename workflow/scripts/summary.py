"""The summary of all devices, as Parquet and CSV."""

from hakd.analysis.summary import join_devices
from hakd.records.tables import read_table, write_table
from hakd.study.scripting import reporting


def main(summary_paths, path_to_table, path_to_csv):
    """Write one table from the devices' tables; each one's metadata stays under its path."""
    parts = [read_table(path, "summary") for path in summary_paths]
    frame = join_devices([part for part, _ in parts])
    devices = {metadata["device"]["name"]: metadata for _, metadata in parts}
    write_table(path_to_table, "summary", frame, {"devices": devices})
    write_table(path_to_csv, "summary", frame)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(list(snakemake.input), snakemake.output.table, snakemake.output.csv)
