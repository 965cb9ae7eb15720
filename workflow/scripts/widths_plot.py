"""Draw the widths that each method chose."""

from hakd.networks.families import full_widths
from hakd.plots.widths import widths_figure
from hakd.records.arch import read_architecture
from hakd.records.tables import read_table
from hakd.study.candidates import FULL_WIDTHS
from hakd.study.scripting import reporting


def main(path_to_summary, path_to_plot):
    """Write the plot."""
    frame, _ = read_table(path_to_summary, "summary")
    chosen = frame[~frame["method"].isin(FULL_WIDTHS)]
    found = {
        arch: read_architecture(f"results/architectures/{arch}.json") for arch in chosen["arch"].unique()
    }
    of = chosen.drop_duplicates("network").set_index("network")["arch"]
    full = {network: full_widths(found[arch].spec) for network, arch in of.items()}
    widths_figure(chosen, found, full, path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input[0], snakemake.output[0])
