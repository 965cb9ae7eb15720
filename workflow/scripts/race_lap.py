"""Train a contestant for some hundred steps, from inherited weights or from where the rung before left it."""

from dataclasses import replace

from hakd.choosing.race import steps_at
from hakd.networks.stored import read_network
from hakd.pruning.start import start_weights
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, taught, train_lap


def main(widths, loss, path_to_teacher, path_to_pruned, path_to_trajectory, path_before, prepared, job):
    """Train and write the checkpoint."""
    teacher = read_network(path_to_teacher)
    if path_before is None:
        start, _ = start_weights(teacher, path_to_pruned, path_to_trajectory, widths)
    else:
        start = read_network(path_before, teacher.architecture.spec).weights
    data = prepared.load(teacher.architecture.spec.input_size)
    job = taught(replace(job, start=start), path_to_teacher, teacher, loss, data.train.device)
    train_lap(teacher.architecture.at(widths), data, job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        rung = int(snakemake.wildcards.rung)
        main(
            snakemake.params.widths,
            snakemake.params.loss["settings"],
            snakemake.input.teacher,
            snakemake.input.pruned,
            snakemake.input.trajectory,
            next(iter(snakemake.input.before), None),
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output[0],
                epochs=0,
                steps=steps_at(rung, snakemake.params.steps),
                recipe=Recipe.from_config({**snakemake.params.recipe, "lr": snakemake.params.lr}),
                seed=10_000 * rung + snakemake.params.seed,  # other images in each rung
                lr_key="students.tuned_lr",
                recipe_name="tuned",
                loss_name=snakemake.params.loss["name"],
            ),
        )
