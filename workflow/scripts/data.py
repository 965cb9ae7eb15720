"""Make the three splits of the data set."""

from pathlib import Path

from hakd.data import prepare
from hakd.study.scripting import reporting


def main(settings, path_to_train):
    """Write train, validation and test beside each other."""
    prepare(settings, Path(path_to_train).parent)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.params.settings, snakemake.output.train)
