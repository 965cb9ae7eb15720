"""Compress a teacher by Deep Compression: prune, share, code."""

import shutil

from hakd.deep_compression.compress import CompressionSettings, compress
from hakd.deep_compression.store import read, write
from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.networks.stored import read_network
from hakd.records.files import write_json
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import probe_logits


def main(density, seed, settings, recipe, prepared, path_to_teacher, path_to_file, path_to_facts):
    """Write the compressed file; its header holds what is needed to rebuild and check the network."""
    teacher = read_network(path_to_teacher)
    graph = build_graph(teacher.architecture)
    data = prepared.load(teacher.architecture.spec.input_size)
    resume_directory = f"{path_to_file}.resume"
    compressed = compress(
        network_with(graph, teacher.weights).to(data.train.device),
        data,
        density=density,
        settings=CompressionSettings.from_config(settings),
        recipe=Recipe.from_config(recipe),
        seed=seed,
        label=path_to_file,
        resume_directory=resume_directory,
    )
    metrics = compressed.metrics
    facts = {**metrics, "recipe": "compressed", "loss": "ce", "seed": seed, "data": data.train.name}
    facts |= {"density": density, "density_reached": metrics["density"]}
    facts |= {"train_macs": metrics["train_images"] * 3 * graph.macs()}
    facts |= {"probe_logits": probe_logits(graph, compressed.state())}
    write(path_to_file, compressed, teacher.architecture.to_dict())
    read(path_to_file)  # what cannot be read back is no result
    write_json(path_to_facts, "compressed", {"facts": facts})  # beside the file: every byte of it counts
    shutil.rmtree(resume_directory, ignore_errors=True)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            float(snakemake.wildcards.density),
            int(snakemake.wildcards.seed),
            snakemake.params.settings,
            snakemake.params.recipe,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            snakemake.input.teacher,
            snakemake.output.compressed,
            snakemake.output.facts,
        )
