"""Prune the weights of a teacher by magnitude, as Deep Compression begins, and store what is left as it is."""

from functools import partial

from hakd.deep_compression.candidate import CompressionJob, compress_candidate
from hakd.deep_compression.compress import CompressionSettings, prune_weights
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe


def main(settings, prepared, job):
    """Write the sparse file and the facts of its making."""
    method = partial(prune_weights, density=job.level, settings=CompressionSettings.from_config(settings))
    compress_candidate(job, prepared, method)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.settings,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            CompressionJob(
                snakemake.input.trained,
                snakemake.output.compressed,
                snakemake.output.facts,
                level=snakemake.params.density,
                seed=int(snakemake.wildcards.seed),
                recipe=Recipe.from_config(snakemake.params.recipe),
            ),
        )
