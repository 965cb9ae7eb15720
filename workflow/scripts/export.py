"""Export a checkpoint to ONNX and check it against torch's logits."""

from hakd.evaluation.export import export, with_input
from hakd.networks.stored import read_network
from hakd.study.scripting import logger, reporting


def main(path_to_checkpoint, image_side, path_to_onnx):
    """Read the file back, export, check."""
    found = read_network(path_to_checkpoint)
    facts = with_input(found.facts, found.architecture.spec, image_side)
    error = export(
        path_to_onnx, found.architecture, found.weights, facts.pop("probe_logits"), facts, found.provenance
    )
    logger.info("largest deviation from torch: %.2g", error)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input[0], snakemake.params.image_side, snakemake.output[0])
