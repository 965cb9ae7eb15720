"""Widths at a level by a method that prunes by another criterion, or that copies the profile of another level."""

from hakd.choosing.device_free import copycat
from hakd.networks.stored import read_network
from hakd.records.arch import write_architecture
from hakd.records.files import write_json
from hakd.study.scripting import reporting


def main(method, level, limits, path_to_pruned, path_to_widths):
    """Write {method: architecture} and the content-addressed architecture file."""
    pruned = read_network(path_to_pruned)
    own = pruned.facts["level"] == level
    chosen = pruned.architecture if own else copycat(pruned.architecture, level, **limits)
    write_architecture(f"results/architectures/{chosen.arch}.json", chosen)
    write_json(path_to_widths, "widths", {"level": level, "methods": {method: chosen.to_dict()}})


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.method,
            float(snakemake.wildcards.level),
            {"groups": snakemake.params.groups, "count": snakemake.params.counting},
            snakemake.input.pruned,
            snakemake.output[0],
        )
