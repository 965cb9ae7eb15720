"""Predicted against measured latency of a device: a table and a page."""

from hakd.plots.audit import audit_figure, audit_table
from hakd.records.files import atomic, read_json
from hakd.study.scripting import reporting


def main(path_to_benchmark, path_to_table, path_to_plot):
    """Write both from the benchmark's audit; the table has no rows where there was nothing to compare."""
    measured = read_json(path_to_benchmark, "benchmark")
    with atomic(path_to_table) as temporary:
        audit_table(measured["audit"]).to_csv(temporary, index=False, lineterminator="\n")
    audit_figure(measured, path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.benchmark, snakemake.output.table, snakemake.output.plot)
