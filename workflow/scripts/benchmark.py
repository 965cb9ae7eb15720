"""Time all candidates of a device end to end."""

from hakd.evaluation.benchmark import benchmark
from hakd.records.files import read_json, write_json
from hakd.study.scripting import reporting
from hakd.sweeping.same_board import seen


def main(name, device, store, candidates_paths, path_to_benchmark):
    """Write latency, prediction and memory of each."""
    lists = {path: read_json(path, "candidates") for path in candidates_paths}
    entries = [entry for content in lists.values() for entry in content["candidates"]]
    chosen_on = {}
    for path, content in lists.items():
        about = content["members"][name] if "members" in content else content["chosen_on"]
        if about is not None:
            chosen_on[path] = seen(about, path)
    write_json(path_to_benchmark, "benchmark", benchmark(name, device, store, entries, chosen_on))


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.device,
            {**snakemake.params.device, **snakemake.params.reach, **snakemake.params.energy},
            snakemake.params.store,
            snakemake.input.candidates,
            snakemake.output[0],
        )
