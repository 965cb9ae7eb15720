"""List the finished students of a (network, level, fleet)."""

from hakd.records.files import read_json, write_json
from hakd.study.candidates import FLEET, fleet_students
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting


def main(network, level, fleet, recipes, losses, seeds, path_to_choice, path_to_list):
    """Write what their files say, and on which devices the widths were chosen."""
    config = {"run": {"seeds": seeds}, "students": {"recipes": {"joint": recipes}, "losses": losses}}
    chosen = read_json(path_to_choice, "fleet")
    found = fleet_students(config, network, level, fleet, chosen["arch"])
    candidates = describe_all(found, {FLEET: chosen["search_s"]})
    content = {"chosen_on": None, "members": chosen["chosen_on"], "candidates": candidates}
    write_json(path_to_list, "candidates", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.level,
            snakemake.wildcards.fleet,
            snakemake.params.recipes,
            snakemake.params.losses,
            snakemake.params.seeds,
            snakemake.input.choice,
            snakemake.output[0],
        )
