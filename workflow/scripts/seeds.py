"""Draw the test accuracy of every seed."""

from hakd.plots.seeds import seeds_figure
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(path_to_summary, path_to_plot):
    """Write the plot."""
    seeds_figure(read_table(path_to_summary, "summary")[0], path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input[0], snakemake.output[0])
