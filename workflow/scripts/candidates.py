"""List the finished students of a (network, search, level, device)."""

from hakd.records.files import read_json, write_json
from hakd.study.candidates import Origin, choices, students
from hakd.study.descriptions import describe_all
from hakd.study.races import RACE
from hakd.study.scripting import reporting
from hakd.study.searches import search_of


def main(
    network, folder, level, device, config, path_to_snap, path_to_widths, race_paths, path_to_list, form
):
    """Write what their files say, and on what the widths were chosen."""
    origin = Origin(network, level, search_of(config, folder))
    found = students(config, origin, device, choices(path_to_snap, path_to_widths, race_paths))
    snap = read_json(path_to_snap, "snap")
    made = dict(snap["methods"])
    for path in race_paths:
        made |= read_json(path, RACE)["methods"]
    content = {"chosen_on": snap["chosen_on"], "candidates": describe_all(found, made, form)}
    write_json(path_to_list, "candidates", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        params = snakemake.params
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.search,
            float(snakemake.wildcards.level),
            snakemake.wildcards.device,
            {
                "run": {
                    "methods": params.methods,
                    "seeds": params.seeds,
                    "search_seeds": params.search_seeds,
                },
                "students": {"recipes": params.recipes, "losses": params.losses},
                "choosing": {"budgets": params.budgets},
            },
            snakemake.input.snap,
            snakemake.input.widths,
            snakemake.input.race,
            snakemake.output[0],
            snakemake.wildcards.form,
        )
