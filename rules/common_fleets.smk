# What the rules of fleets (devices that share one network) need. No rules.
from hakd.study.branches import fleet_reach, fleet_tracked
from hakd.study.candidates import fleet_student_paths
from hakd.study.fleets import budgets, members, snapped_members
from hakd.study.configuration import canonical


wildcard_constraints:
    fleet=one_of(config["fleets"]),


def fleet_tables(wildcards):
    """Latency tables of all members."""
    return expand("results/{{network}}/latency/{device}.parquet", device=members(config, wildcards.fleet))


def fleet_snaps(wildcards):
    """Choices for single members that give them their budgets: mostly none."""
    return expand(
        "results/{{network}}/snap/{{level}}/{device}.json", device=snapped_members(config, wildcards.fleet)
    )


def fleet_settings(wildcards):
    """What the members' figures depend on: tracked."""
    return fleet_tracked(config, wildcards.fleet)


def fleet_reach_settings(wildcards, input):
    """How the members are reached. Not tracked, for it asks for `input` too, as `device_reach` does."""
    return fleet_reach(config, wildcards.fleet)


def fleet_budgets(wildcards):
    """What the network may take on each member."""
    return canonical(budgets(config, wildcards.fleet))


def fleet_candidate_files(wildcards):
    """Every student file of (network, level, fleet); known once the widths are chosen."""
    chosen = checkpoints.fleet.get(**wildcards).output[0]
    return fleet_student_paths(config, wildcards.network, wildcards.level, wildcards.fleet, chosen)
