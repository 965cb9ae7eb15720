"""Compress a teacher by Deep Compression (prune, share, code), or a student by the same codec."""

from functools import partial

from hakd.deep_compression.candidate import CompressionJob, compress_candidate
from hakd.deep_compression.compress import CompressionSettings, compress
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe


def main(settings, prepared, job):
    """Write the compressed file and the facts of its making."""
    method = partial(compress, density=job.level, settings=CompressionSettings.from_config(settings))
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
                student_suffix="coded" if snakemake.wildcards.compressed.startswith("students/") else None,
            ),
        )
