"""Compress a teacher by Deep Compression (prune, share, code), or a student by the same codec."""

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


def main(density, seed, student, settings, recipe, prepared, path_to_trained, path_to_file, path_to_facts):
    """Write the compressed file; its header holds what is needed to rebuild and check the network."""
    trained = read_network(path_to_trained)
    graph = build_graph(trained.architecture)
    data = prepared.load(trained.architecture.spec.input_size)
    resume_directory = f"{path_to_file}.resume"
    compressed = compress(
        network_with(graph, trained.weights).to(data.train.device),
        data,
        density=density,
        settings=CompressionSettings.from_config(settings),
        recipe=Recipe.from_config(recipe),
        seed=seed,
        label=path_to_file,
        resume_directory=resume_directory,
    )
    metrics = compressed.metrics
    images, macs = metrics["train_images"], metrics["train_images"] * 3 * graph.macs()
    facts = {"recipe": "compressed", "loss": "ce"}
    if student:  # its own training counts, a teacher's is shared
        own = trained.facts
        facts = {**own, "recipe": f"{own['recipe']}_coded"}
        images, macs = images + own["train_images"], macs + own["train_macs"]
    facts |= {**metrics, "seed": seed, "data": data.train.name, "train_images": images, "train_macs": macs}
    facts |= {"images": data.train.about()}
    facts |= {"density": density, "density_reached": metrics["density"]}
    facts |= {"probe_logits": probe_logits(graph, compressed.state())}
    write(path_to_file, compressed, trained.architecture.to_dict())
    read(path_to_file)  # what cannot be read back is not a result
    write_json(path_to_facts, "compressed", {"facts": facts})  # beside the file: every byte of it counts
    shutil.rmtree(resume_directory, ignore_errors=True)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.density,
            int(snakemake.wildcards.seed),
            snakemake.wildcards.compressed.startswith("students/"),
            snakemake.params.settings,
            snakemake.params.recipe,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            snakemake.input.trained,
            snakemake.output.compressed,
            snakemake.output.facts,
        )
