"""Train a student of given widths from scratch, alone or with a teacher."""

import pandas as pd

from hakd.data.split import load_splits
from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.records.arch import Architecture
from hakd.records.checkpoint import read_checkpoint
from hakd.records.files import atomic, file_digest
from hakd.study.scripting import reporting
from hakd.training.device import training_device
from hakd.training.distil import DistilSettings, distillation_loss
from hakd.training.loop import Recipe
from hakd.training.students import train_candidate


def main(
    widths, recipe_name, loss, seed, epochs, recipe, distil, device, path_to_train, path_to_validation, path_to_teacher,
    path_to_checkpoint, path_to_metrics,
):  # fmt: skip
    """Train and write checkpoint and metrics per epoch."""
    teacher = read_checkpoint(path_to_teacher)
    spec = teacher.architecture.spec
    where = training_device(device)
    data = load_splits(path_to_train, path_to_validation, spec.input_size, where)
    graph = build_graph(teacher.architecture)
    rows = train_candidate(
        Architecture(spec, widths),
        data,
        recipe_name=recipe_name,
        loss_name=loss,
        loss=distillation_loss(
            loss, network_with(graph, teacher.weights).to(where), DistilSettings(**distil)
        ),
        epochs=epochs,
        recipe=Recipe.from_config(recipe),
        seed=seed,
        path=path_to_checkpoint,
        context=[distil, file_digest(path_to_teacher)] if loss != "ce" else None,
        teacher_macs=0 if loss == "ce" else graph.macs(),
    )
    with atomic(path_to_metrics) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.widths,
            snakemake.wildcards.recipe,
            snakemake.wildcards.loss,
            int(snakemake.wildcards.seed),
            snakemake.params.epochs,
            snakemake.params.recipe,
            {key: snakemake.params[key] for key in ("alpha", "temperature", "attention_scale")},
            snakemake.params.device,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.input.teacher,
            snakemake.output.checkpoint,
            snakemake.output.metrics,
        )
