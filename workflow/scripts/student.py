"""Train a student of given widths from scratch, alone or with a teacher."""

from hakd.networks.stored import read_network
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, taught, train_candidate


def main(widths, loss, path_to_teacher, prepared, job):
    """Train and write checkpoint and metrics per epoch."""
    teacher = read_network(path_to_teacher)
    data = prepared.load(teacher.architecture.spec.input_size)
    job = taught(job, path_to_teacher, teacher, loss, data.train.device)
    train_candidate(teacher.architecture.at(widths), data, job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.widths,
            snakemake.params.loss,
            snakemake.input.teacher,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output.checkpoint,
                metrics_path=snakemake.output.metrics,
                epochs=snakemake.params.epochs,
                recipe=Recipe.from_config(snakemake.params.recipe),
                seed=int(snakemake.wildcards.seed),
                lr_key="students.recipe.lr",
                recipe_name=snakemake.wildcards.recipe,
                loss_name=snakemake.wildcards.loss,
            ),
        )
