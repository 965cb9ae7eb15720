"""List the finished students of a (network, search, level, method) whose widths were chosen for no device."""

from hakd.records.files import write_json
from hakd.study.candidates import Origin, baseline_students
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting
from hakd.study.searches import search_of


def main(network, folder, level, method, config, path_to_widths, path_to_list, form):
    """Write what their files say."""
    origin = Origin(network, level, search_of(config, folder))
    found = baseline_students(config, origin, method, path_to_widths)
    write_json(path_to_list, "candidates", {"chosen_on": None, "candidates": describe_all(found, {}, form)})


if __name__ == "__main__":
    with reporting(snakemake.log):
        params, method = snakemake.params, snakemake.wildcards.method
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.search,
            float(snakemake.wildcards.level),
            method,
            {
                "run": {"seeds": params.seeds, "search_seeds": params.search_seeds},
                "students": {"recipes": {method: params.recipes}, "losses": params.losses},
            },
            snakemake.input.widths,
            snakemake.output[0],
            snakemake.wildcards.form,
        )
