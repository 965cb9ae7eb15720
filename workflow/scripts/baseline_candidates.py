"""List the finished students of a (network, level, method) whose widths were chosen for no device."""

from hakd.records.files import write_json
from hakd.study.candidates import baseline_students
from hakd.study.descriptions import describe_all
from hakd.study.scripting import reporting


def main(network, level, method, recipes, losses, seeds, path_to_widths, path_to_list):
    """Write what their files say."""
    config = {"run": {"seeds": seeds}, "students": {"recipes": {method: recipes}, "losses": losses}}
    found = baseline_students(config, network, level, method, path_to_widths)
    write_json(path_to_list, "candidates", {"chosen_on": None, "candidates": describe_all(found, {})})


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.network,
            snakemake.wildcards.level,
            snakemake.wildcards.method,
            snakemake.params.recipes,
            snakemake.params.losses,
            snakemake.params.seeds,
            snakemake.input.widths,
            snakemake.output[0],
        )
