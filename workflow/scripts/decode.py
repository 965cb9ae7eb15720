"""Decode a compressed file and export what it holds, checked against torch's logits of the quantised network."""

from hakd.deep_compression.store import read
from hakd.evaluation.export import export, with_input
from hakd.networks.stored import check_shapes
from hakd.records.arch import architecture_from
from hakd.records.files import read_json
from hakd.study.scripting import logger, reporting


def main(path_to_file, path_to_facts, image_side, path_to_onnx):
    """From the file's bytes to ONNX."""
    weights, header = read(path_to_file)
    architecture = architecture_from(header, path_to_file)
    check_shapes(path_to_file, architecture, weights)
    beside = read_json(path_to_facts, "compressed")
    facts = with_input(beside["facts"], architecture.spec, image_side)
    error = export(
        path_to_onnx, architecture, weights, facts.pop("probe_logits"), facts, beside["provenance"]
    )
    logger.info("largest deviation from torch: %.2g", error)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.input.compressed,
            snakemake.input.facts,
            snakemake.params.image_side,
            snakemake.output[0],
        )
