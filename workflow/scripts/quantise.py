"""Quantise an exported network to int8, calibrated on images of the training split, and score it in validation."""

from hakd.data.split import load_splits
from hakd.evaluation.quantising import quantise
from hakd.networks.int8_files import exported_header
from hakd.study.scripting import logger, reporting


def main(path_to_onnx, path_to_train, path_to_validation, count, path_to_int8):
    """Write the file and say what it costs in accuracy."""
    size = exported_header(path_to_onnx)["network"]["input_size"]
    splits = load_splits(path_to_train, path_to_validation, size)
    facts = quantise(path_to_onnx, splits, count, path_to_int8)
    before, after = facts["int8"]["float32_val_accuracy"], facts["val_accuracy"]
    logger.info("validation accuracy %.4f, in float32 %.4f", after, before)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.input.network,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.params.images,
            snakemake.output[0],
        )
