"""What choices of widths were verified at, beside what the benchmark says of them."""

from hakd.analysis.verification import verifications
from hakd.records.files import atomic, read_json
from hakd.study.scripting import reporting


def main(snap_paths, candidates_paths, path_to_benchmark, path_to_table):
    """Write a row per network, level and method that used the device."""
    candidates = [entry for path in candidates_paths for entry in read_json(path, "candidates")["candidates"]]
    rows = read_json(path_to_benchmark, "benchmark")["rows"]
    frame = verifications([read_json(path, "snap") for path in snap_paths], candidates, rows)
    with atomic(path_to_table) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.input.snaps, snakemake.input.candidates, snakemake.input.benchmark, snakemake.output[0]
        )
