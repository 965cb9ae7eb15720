"""Make the three splits of the data set."""

from pathlib import Path

from hakd.data import prepare
from hakd.data.changes import note_images
from hakd.study.scripting import reporting


def main(settings, images, path_to_train):
    """Write train, validation and test beside each other, and what a folder of images held."""
    folder = Path(path_to_train).parent
    prepare(settings, folder)
    note_images(settings, images, folder)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            {**snakemake.params.settings, **snakemake.params.places},
            snakemake.params.images,
            snakemake.output.train,
        )
