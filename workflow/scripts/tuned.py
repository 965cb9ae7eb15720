"""Train a network of given widths that a pruning decides on: by the weights it left, or by the images it saw."""

from dataclasses import replace

from hakd.networks.stored import read_network
from hakd.pruning.start import start_weights
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.matched import steps_of
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, taught, train_candidate


def main(widths, loss, path_to_teacher, path_to_pruned, path_to_trajectory, prepared, job):
    """Train and write checkpoint and metrics per epoch."""
    teacher = read_network(path_to_teacher)
    data = prepared.load(teacher.architecture.spec.input_size)
    if job.recipe_name == "tuned":
        start, facts = start_weights(teacher, path_to_pruned, path_to_trajectory, widths)
        job = replace(job, start=start, facts=facts)
    else:  # random weights, and the images of the pruning on top
        images, split = read_network(path_to_pruned).facts["prune_images"], len(data.train)
        steps = steps_of(job.epochs * split + images, split, job.recipe.batch_size)
        job = replace(job, steps=steps, facts={"matched_images": images})
    job = taught(job, path_to_teacher, teacher, loss, data.train.device)
    train_candidate(teacher.architecture.at(widths), data, job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        recipe = snakemake.wildcards.recipe
        main(
            snakemake.params.widths,
            snakemake.params.loss,
            snakemake.input.teacher,
            snakemake.input.pruned,
            snakemake.input.trajectory,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output.checkpoint,
                metrics_path=snakemake.output.metrics,
                epochs=snakemake.params.epochs,
                recipe=Recipe.from_config({**snakemake.params.recipe, "lr": snakemake.params.lr}),
                seed=int(snakemake.wildcards.seed),
                lr_key="students.tuned_lr" if recipe == "tuned" else "students.recipe.lr",
                recipe_name=recipe,
                loss_name=snakemake.wildcards.loss,
            ),
        )
