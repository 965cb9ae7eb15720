"""List the finished students of a (network, search, level, fleet)."""

from hakd.records.files import read_json, write_json
from hakd.study.candidates import FLEET, Origin, fleet_students
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting
from hakd.study.searches import search_of


def main(network, folder, level, fleet, config, path_to_choice, path_to_list, form):
    """Write what their files say, and on which devices the widths were chosen."""
    chosen = read_json(path_to_choice, "fleet")
    origin = Origin(network, level, search_of(config, folder))
    found = fleet_students(config, origin, fleet, chosen["arch"])
    candidates = describe_all(found, {FLEET: chosen}, form)
    content = {"chosen_on": None, "members": chosen["chosen_on"], "candidates": candidates}
    write_json(path_to_list, "candidates", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        params = snakemake.params
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.search,
            float(snakemake.wildcards.level),
            snakemake.wildcards.fleet,
            {
                "run": {"seeds": params.seeds, "search_seeds": params.search_seeds},
                "students": {"recipes": {"joint": params.recipes}, "losses": params.losses},
            },
            snakemake.input.choice,
            snakemake.output[0],
            snakemake.wildcards.form,
        )
