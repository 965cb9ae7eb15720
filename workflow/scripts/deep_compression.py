"""Compress a teacher by Deep Compression: prune, share, code."""

import shutil

from hakd.data.split import load_splits
from hakd.deep_compression.compress import CompressionSettings, compress
from hakd.deep_compression.store import read, write
from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.records.checkpoint import read_checkpoint
from hakd.records.files import write_json
from hakd.study.scripting import reporting
from hakd.training.device import training_device
from hakd.training.loop import Recipe
from hakd.training.students import probe_logits


def main(
    density,
    seed,
    settings,
    recipe,
    device,
    path_to_train,
    path_to_validation,
    path_to_teacher,
    path_to_file,
    path_to_facts,
):
    """Write the compressed file; its header holds what is needed to rebuild and check the network."""
    teacher = read_checkpoint(path_to_teacher)
    graph = build_graph(teacher.architecture)
    data = load_splits(
        path_to_train, path_to_validation, teacher.architecture.spec.input_size, training_device(device)
    )
    module = network_with(graph, teacher.weights).to(data.train.labels.device)
    kept = f"{path_to_file}.resume"
    found = compress(
        module,
        data,
        density=density,
        settings=CompressionSettings.from_config(settings),
        recipe=Recipe.from_config(recipe),
        seed=seed,
        label=path_to_file,
        resume_directory=kept,
    )
    facts = {**found.metrics, "recipe": "compressed", "loss": "ce", "seed": seed, "data": data.train.name}
    facts |= {"density": density, "density_reached": found.metrics["density"]}
    facts |= {"train_macs": found.metrics["train_images"] * 3 * graph.macs()}
    facts |= {"probe_logits": probe_logits(graph, found.state())}
    write(path_to_file, found, teacher.architecture.to_dict())
    read(path_to_file)  # what cannot be read back is no result
    write_json(path_to_facts, "compressed", {"facts": facts})  # beside the file: every byte of it counts
    shutil.rmtree(kept, ignore_errors=True)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            float(snakemake.wildcards.density),
            int(snakemake.wildcards.seed),
            snakemake.params.settings,
            snakemake.params.recipe,
            snakemake.params.device,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.input.teacher,
            snakemake.output.compressed,
            snakemake.output.facts,
        )
