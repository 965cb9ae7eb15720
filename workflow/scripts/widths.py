"""Widths at a level by every method that needs no device."""

from hakd.choosing.device_free import choose_device_free
from hakd.networks.prunable import check_reach
from hakd.networks.stored import read_network
from hakd.records.arch import write_architecture
from hakd.records.files import write_json
from hakd.study.scripting import reporting


def main(level, seed, limits, path_to_pruned, path_to_widths):
    """Write {method: architecture} and the content-addressed architecture files."""
    pruned = read_network(path_to_pruned).architecture
    check_reach(pruned.spec, level, **limits)  # the file may be older than the level in the configuration
    found = choose_device_free(pruned, level, seed, **limits)
    for architecture in found.values():
        write_architecture(f"results/architectures/{architecture.arch}.json", architecture)
    methods = {method: architecture.to_dict() for method, architecture in found.items()}
    write_json(path_to_widths, "widths", {"level": level, "methods": methods})


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            float(snakemake.wildcards.level),
            snakemake.params.seed,
            {"groups": snakemake.params.groups, "count": snakemake.params.counting},
            snakemake.input.pruned,
            snakemake.output[0],
        )
