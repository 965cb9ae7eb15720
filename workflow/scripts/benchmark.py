"""Time all candidates of a device end to end."""

from hakd.records.files import read_json, write_json
from hakd.scripting import reporting
from hakd.sweeping.benchmark import benchmark


def main(name, device, store, candidates_paths, path_to_benchmark):
    """Write latency, prediction and memory of each."""
    entries = [entry for path in candidates_paths for entry in read_json(path, "candidates")["candidates"]]
    write_json(path_to_benchmark, "benchmark", benchmark(name, device, store, entries))


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.device,
            snakemake.params.device,
            snakemake.params.store,
            snakemake.input.candidates,
            snakemake.output[0],
        )
