"""List the finished teachers and compressed networks of a network."""

from hakd.records.files import write_json
from hakd.study.candidates import baselines
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting


def main(network, settings, methods, densities, pruned_densities, seeds, path_to_list, form):
    """Write what their files say."""
    config = {"run": {"methods": methods, "seeds": seeds}, "networks": {network: settings}}
    config |= {
        "deep_compression": {"densities": densities},
        "weight_pruning": {"densities": pruned_densities},
    }
    content = {"chosen_on": None, "candidates": describe_all(baselines(config, network), {}, form)}
    write_json(path_to_list, "candidates", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.network,
            snakemake.params.network,
            snakemake.params.methods,
            snakemake.params.densities,
            snakemake.params.pruned_densities,
            snakemake.params.seeds,
            snakemake.output[0],
            snakemake.wildcards.form,
        )
