"""Fine-tune a network of given widths from what pruning left of the teacher."""

from dataclasses import replace

from hakd.networks.families import build_graph
from hakd.networks.stored import read_network
from hakd.pruning.inherit import inherit, kept_channels
from hakd.pruning.trajectory import ranking, read_trajectory
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_candidate


def main(widths, path_to_teacher, path_to_pruned, path_to_trajectory, prepared, job):
    """Train and write checkpoint and metrics per epoch."""
    teacher = read_network(path_to_teacher)
    spec = teacher.architecture.spec
    pruned = read_network(path_to_pruned, spec)
    order = ranking(read_trajectory(path_to_trajectory), pruned.facts["kept"])
    start = inherit(
        build_graph(teacher.architecture),
        teacher.weights,
        pruned.weights,
        kept_channels(order, pruned.architecture.widths),
        kept_channels(order, widths),
    )
    facts = {key: pruned.facts[key] for key in ("prune_images", "prune_macs")}
    data = prepared.load(spec.input_size)
    train_candidate(teacher.architecture.at(widths), data, replace(job, start=start, facts=facts))


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.widths,
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
                lr_key="students.tuned_lr",
                recipe_name="tuned",
            ),
        )
