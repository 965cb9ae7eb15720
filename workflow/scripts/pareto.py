"""Plot accuracy against measured latency and size."""

from hakd.plots.pareto import pareto_figure
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(path_to_summary, path_to_plot):
    """Write a page per network and device."""
    frame, _ = read_table(path_to_summary, "summary")
    pareto_figure(frame, path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.summary, snakemake.output[0])
