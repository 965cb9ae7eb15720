"""Train a teacher: the network at full width, from scratch or from the weights that it brings."""

from dataclasses import replace

from hakd.networks.families import full_architecture, network_spec
from hakd.networks.stored import read_network
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_candidate


def main(name, network, imported, prepared, job, tuned_lr):
    """Train and write checkpoint and metrics per epoch; weights that are trained already are measured alone."""
    if not imported:
        data = prepared.load(network["input_size"])
        spec = network_spec(name, network, data.train.channels, data.train.num_classes)
        train_candidate(full_architecture(spec), data, job)
        return
    found = read_network(imported)
    job = replace(job, start=found.weights)
    if found.facts["pretrained"]:
        recipe = replace(job.recipe, lr=tuned_lr)
        job = replace(job, recipe_name="pretrained", recipe=recipe, lr_key="students.tuned_lr")
        if not found.facts["replaced"]:
            job = replace(job, epochs=0)
    train_candidate(found.architecture, prepared.load(found.architecture.spec.input_size), job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.wildcards.network,
            snakemake.params.network,
            next(iter(snakemake.input.network), None),
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output.checkpoint,
                metrics_path=snakemake.output.metrics,
                epochs=snakemake.params.epochs,
                recipe=Recipe.from_config(snakemake.params.recipe),
                seed=int(snakemake.wildcards.seed),
                lr_key="teacher.recipe.lr",
            ),
            snakemake.params.tuned_lr,
        )
