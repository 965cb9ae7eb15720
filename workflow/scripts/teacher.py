"""Train a teacher: the network at full width, from scratch."""

import pandas as pd

from hakd.data.split import load_splits
from hakd.networks.families import full_architecture, network_spec
from hakd.records.files import atomic
from hakd.study.scripting import reporting
from hakd.training.device import training_device
from hakd.training.loop import Recipe
from hakd.training.students import train_candidate


def main(
    name,
    network,
    epochs,
    recipe,
    seed,
    device,
    path_to_train,
    path_to_validation,
    path_to_checkpoint,
    path_to_metrics,
):
    """Train and write checkpoint and metrics per epoch."""
    data = load_splits(path_to_train, path_to_validation, network["input_size"], training_device(device))
    spec = network_spec(name, network, data.train.channels, data.train.num_classes)
    rows = train_candidate(
        full_architecture(spec),
        data,
        recipe_name="scratch",
        loss_name="ce",
        loss=None,
        epochs=epochs,
        recipe=Recipe.from_config(recipe),
        seed=seed,
        path=path_to_checkpoint,
    )
    with atomic(path_to_metrics) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.wildcards.network,
            snakemake.params.network,
            snakemake.params.epochs,
            snakemake.params.recipe,
            int(snakemake.wildcards.seed),
            snakemake.params.device,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.output.checkpoint,
            snakemake.output.metrics,
        )
