"""Fine-tune a network of given widths from what pruning left of the teacher."""

import pandas as pd

from hakd.data.split import load_splits
from hakd.networks.families import build_graph, full_widths
from hakd.pruning.inherit import inherit, kept_channels
from hakd.pruning.trajectory import ranking, read_trajectory
from hakd.records.arch import Architecture
from hakd.records.checkpoint import read_checkpoint
from hakd.records.files import atomic
from hakd.study.scripting import reporting
from hakd.training.device import training_device
from hakd.training.loop import Recipe
from hakd.training.students import train_candidate


def main(
    widths, seed, epochs, recipe, lr, device, path_to_train, path_to_validation, path_to_teacher, path_to_pruned,
    path_to_trajectory, path_to_checkpoint, path_to_metrics,
):  # fmt: skip
    """Train and write checkpoint and metrics per epoch."""
    teacher = read_checkpoint(path_to_teacher)
    spec = teacher.architecture.spec
    pruned = read_checkpoint(path_to_pruned, spec)
    order = ranking(read_trajectory(path_to_trajectory), full_widths(spec))
    start = inherit(
        build_graph(teacher.architecture),
        teacher.weights,
        pruned.weights,
        kept_channels(order, pruned.architecture.widths),
        kept_channels(order, widths),
    )
    data = load_splits(path_to_train, path_to_validation, spec.input_size, training_device(device))
    rows = train_candidate(
        Architecture(spec, widths),
        data,
        recipe_name="tuned",
        loss_name="ce",
        loss=None,
        epochs=epochs,
        recipe=Recipe.from_config({**recipe, "lr": lr}),
        seed=seed,
        path=path_to_checkpoint,
        start=start,
        facts={key: pruned.facts[key] for key in ("prune_images", "prune_macs")},
    )
    with atomic(path_to_metrics) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.widths,
            int(snakemake.wildcards.seed),
            snakemake.params.epochs,
            snakemake.params.recipe,
            snakemake.params.lr,
            snakemake.params.device,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.input.teacher,
            snakemake.input.pruned,
            snakemake.input.trajectory,
            snakemake.output.checkpoint,
            snakemake.output.metrics,
        )
