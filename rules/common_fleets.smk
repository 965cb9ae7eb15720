# What the rules of fleets (devices that share one network) need. No rules.
from hakd.study.branches import fleet_reach, fleet_tracked
from hakd.study.candidates import FLEET, fleet_students
from hakd.study.fleets import budgets as budgets_of_members
from hakd.study.fleets import members, snapped_members
from hakd.records.files import read_json


wildcard_constraints:
    fleet=one_of(config["fleets"]),


def fleet_tables(wildcards):
    """Latency tables of all members."""
    return expand(
        "results/{{network}}/{{search}}latency/{device}.parquet", device=members(config, wildcards.fleet)
    )


def fleet_snaps(wildcards):
    """Choices for single members that give them their budgets: mostly none."""
    return expand(
        "results/{{network}}/{{search}}snap/{{level}}/{device}.json",
        device=snapped_members(config, wildcards.fleet),
    )


def fleet_settings(wildcards):
    """What the members' figures depend on: tracked."""
    return fleet_tracked(config, wildcards.fleet)


def fleet_reach_settings(wildcards, input):
    """How the members are reached. Not tracked, for it asks for `input` too, as `device_reach` does."""
    return fleet_reach(config, wildcards.fleet)


def fleet_budgets(wildcards):
    """What the network may take on each member."""
    return canonical(budgets_of_members(config, wildcards.fleet))


def fleet_candidate_files(wildcards):
    """Every student file of (network, search, level, fleet); known once the widths are chosen."""
    chosen = read_json(checkpoints.fleet.get(**wildcards).output[0], FLEET)
    found = fleet_students(config, origin(wildcards), wildcards.fleet, chosen["arch"])
    return student_files(found, wildcards.form)
