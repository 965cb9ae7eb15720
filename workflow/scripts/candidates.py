"""List the finished students of a (network, level, device)."""

from hakd.records.files import read_json, write_json
from hakd.study.candidates import choices, students
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting


def main(network, level, device, methods, recipes, losses, seeds, path_to_snap, path_to_widths, path_to_list):
    """Write what their files say, and on what the widths were chosen."""
    config = {"run": {"methods": methods, "seeds": seeds}, "students": {"recipes": recipes, "losses": losses}}
    found = students(config, network, level, device, choices(path_to_snap, path_to_widths))
    snap = read_json(path_to_snap, "snap")
    search_s = {method: entry["search_s"] for method, entry in snap["methods"].items()}
    content = {"chosen_on": snap["chosen_on"], "candidates": describe_all(found, search_s)}
    write_json(path_to_list, "candidates", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.level,
            snakemake.wildcards.device,
            snakemake.params.methods,
            snakemake.params.recipes,
            snakemake.params.losses,
            snakemake.params.seeds,
            snakemake.input.snap,
            snakemake.input.widths,
            snakemake.output[0],
        )
