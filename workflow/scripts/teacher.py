"""Train a teacher: the network at full width, from scratch."""

from hakd.networks.families import full_architecture, network_spec
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_candidate


def main(name, network, prepared, job):
    """Train and write checkpoint and metrics per epoch."""
    data = prepared.load(network["input_size"])
    spec = network_spec(name, network, data.train.channels, data.train.num_classes)
    train_candidate(full_architecture(spec), data, job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.wildcards.network,
            snakemake.params.network,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output.checkpoint,
                metrics_path=snakemake.output.metrics,
                epochs=snakemake.params.epochs,
                recipe=Recipe.from_config(snakemake.params.recipe),
                seed=int(snakemake.wildcards.seed),
                lr_key="teacher.recipe.lr",
            ),
        )
