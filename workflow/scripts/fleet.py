"""Choose the widths of one network for all devices of a fleet; verify them on each."""

from pathlib import Path

from hakd.pruning.trajectory import read_trajectory
from hakd.records.arch import architecture_from, write_architecture
from hakd.records.files import read_json, write_json
from hakd.records.tables import read_table
from hakd.search.budget import budget_from
from hakd.search.fleet import choose_for_fleet
from hakd.search.fleet_boards import Member
from hakd.staircase.curve_rows import curves_from_table
from hakd.study.scripting import reporting
from hakd.sweeping.same_board import seen
from hakd.sweeping.timing import device_from


def main(
    fleet,
    devices,
    store,
    level,
    budgets,
    latency_paths,
    path_to_widths,
    path_to_trajectory,
    snap_paths,
    path_to_choice,
):
    """Write the choice with every device's figures, and the content-addressed architecture file."""
    widths = read_json(path_to_widths, "widths")["methods"]
    known = {method: architecture_from(entry, path_to_widths) for method, entry in widths.items()}
    own = _own_choices(snap_paths)
    members, chosen_on = {}, {}
    for path in latency_paths:
        table, metadata = read_table(path, "latency")
        name = metadata["device"]
        device, measuring = device_from(name, devices[name])
        chosen_on[name] = seen(metadata, path)
        budget = budget_from(budgets[name], {**known, **own.get(name, {})})
        curves = curves_from_table(table, level)
        members[name] = Member(device, measuring, curves, budget, {path: chosen_on[name]})
    trajectory = read_trajectory(path_to_trajectory)
    made = choose_for_fleet(members, Path(store), level, known["fisher"], trajectory)
    architecture = known["fisher"].at(made["widths"])
    write_architecture(f"results/architectures/{architecture.arch}.json", architecture)
    content = {"level": level, "fleet": fleet, "chosen_on": chosen_on, **made}
    write_json(path_to_choice, "fleet", content)


def _own_choices(snap_paths):
    """{device: {method: architecture}} of what HAKD chose for single devices."""
    found = {}
    for path in snap_paths:
        content = read_json(path, "snap")
        found[content["device"]] = {
            method: architecture_from(entry, path) for method, entry in content["methods"].items()
        }
    return found


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.wildcards.fleet,
            {
                name: {**settings, **snakemake.params.reach[name]}
                for name, settings in snakemake.params.devices.items()
            },
            snakemake.params.store,
            float(snakemake.wildcards.level),
            snakemake.params.budgets,
            snakemake.input.latency,
            snakemake.input.widths,
            snakemake.input.trajectory,
            snakemake.input.snaps,
            snakemake.output[0],
        )
