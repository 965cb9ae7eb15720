"""Snap the pruned widths to the staircase of a device; verify and repair on fresh data."""

from hakd.pruning.trajectory import read_trajectory
from hakd.records.arch import architecture_from, write_architecture
from hakd.records.files import read_json, write_json
from hakd.records.tables import read_table
from hakd.search.by_tables import TableMethods
from hakd.search.problem import ChoiceProblem
from hakd.search.snapping import snap_network
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.inversions import inversions
from hakd.study.races import RACE
from hakd.study.scripting import reporting
from hakd.sweeping.same_board import seen


def main(
    name,
    device,
    store,
    level,
    by_tables,
    budgets,
    contestants,
    groups,
    search_seed,
    path_to_latency,
    path_to_widths,
    path_to_trajectory,
    path_to_snap,
):
    """Write the choices of each method with their reasons, contestants, and content-addressed architecture files."""
    widths = read_json(path_to_widths, "widths")["methods"]
    chosen = {method: architecture_from(entry, path_to_widths) for method, entry in widths.items()}
    table, metadata = read_table(path_to_latency, "latency")
    curves, trajectory = curves_from_table(table, level), read_trajectory(path_to_trajectory)
    measured_on = seen(metadata, path_to_latency)
    snapped = snap_network(
        name,
        device,
        store,
        ChoiceProblem(level, chosen["fisher"], curves, trajectory),
        TableMethods(by_tables, budgets, chosen, contestants, groups),
        metadata["seconds"],
        {path_to_latency: measured_on},
    )
    contestants = [entry for race in snapped.races.values() for entry in race["contestants"]]
    for entry in (*snapped.methods.values(), *contestants):
        architecture = architecture_from(entry, path_to_snap)
        write_architecture(f"results/architectures/{architecture.arch}.json", architecture)
    inverted = [inversion for curve in curves.values() for inversion in inversions(curve)]
    content = {"level": level, "search_seed": search_seed, "device": name, "chosen_on": measured_on}
    content |= {"methods": snapped.methods, RACE: snapped.races, "unkept": snapped.unkept}
    content["inversions"] = [inversion.to_dict() for inversion in inverted]
    write_json(path_to_snap, "snap", content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.device,
            {**snakemake.params.device, **snakemake.params.reach},
            snakemake.params.store,
            float(snakemake.wildcards.level),
            snakemake.params.by_tables,
            snakemake.params.budgets,
            snakemake.params.contestants,
            snakemake.params.groups,
            snakemake.params.search_seed,
            snakemake.input.latency,
            snakemake.input.widths,
            snakemake.input.trajectory,
            snakemake.output[0],
        )
