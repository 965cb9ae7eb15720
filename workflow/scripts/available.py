"""The joint plot and summary of the devices that have results; names those that do not."""

from hakd.plots.available import write_available
from hakd.study.scripting import reporting


def main(states, path_to_plot, path_to_csv, path_to_list):
    """Write all three from the summaries that are there; nothing upstream is touched."""
    write_available(states, path_to_plot, path_to_csv, path_to_list)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.params.states, snakemake.output.plot, snakemake.output.csv, snakemake.output.list)
