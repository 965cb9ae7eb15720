"""Make a teacher or a student ternary by training (arXiv 1612.01064)."""

from functools import partial

from hakd.deep_compression.candidate import CompressionJob, compress_candidate
from hakd.deep_compression.ternary import TernarySettings, ternarise
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe


def main(settings, prepared, job):
    """Write the ternary file and the facts of its making."""
    method = partial(ternarise, settings=TernarySettings.from_config(settings))
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
                level=1.0,
                seed=int(snakemake.wildcards.seed),
                recipe=Recipe.from_config(snakemake.params.recipe),
                student_suffix="ternary" if snakemake.wildcards.compressed.startswith("students/") else None,
            ),
        )
