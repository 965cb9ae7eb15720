"""Score all candidates of a device on the test split: the only rule that reads it."""

from hakd.evaluation.score import score
from hakd.records.files import read_json
from hakd.records.tables import write_table
from hakd.study.scripting import reporting


def main(candidates_paths, path_to_test, path_to_predictions):
    """Write the prediction for every image."""
    entries = [entry for path in candidates_paths for entry in read_json(path, "candidates")["candidates"]]
    write_table(path_to_predictions, "predictions", score(entries, path_to_test))


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(snakemake.input.candidates, snakemake.input.test, snakemake.output[0])
