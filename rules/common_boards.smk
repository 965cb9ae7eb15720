# What the rules need that drive a board. No rules.
from hakd.study.branches import by_threads, energy_settings, reach, states, tokens, tracked
from hakd.study.fleets import members

TOKENS = tokens(config["devices"])


def job_devices(wildcards):
    """The devices that a job drives: its own, or all of its fleet."""
    return members(config, wildcards.fleet) if "fleet" in wildcards.keys() else [wildcards.device]


def board_tokens():
    """One resource per board, of which there is one: at most one job at a time on a board.

    A rule that takes them is a `localrule`. Compute nodes cannot reach the boards.
    """
    names = sorted(set(TOKENS.values()))
    for name in names:
        workflow.global_resources.setdefault(name, 1)
    return {
        n: (lambda wildcards, n=n: 1 if any(TOKENS[d] == n for d in job_devices(wildcards)) else None)
        for n in names
    }


def measuring_threads(wildcards):
    """A job that times this machine has it alone; over any other transport the work is the board's."""
    transports = [config["devices"][device]["transport"] for device in job_devices(wildcards)]
    return 10000 if "local" in transports else 1


def device_settings(wildcards):
    """What a device's figures depend on: tracked."""
    return tracked(config, wildcards.device)


def device_energy(wildcards):
    """How a device's energy is measured: tracked by the benchmark alone."""
    return energy_settings(config, wildcards.device)


def device_reach(wildcards, input):
    """How a device is reached. Not tracked, for it asks for `input` too: another user or key reruns nothing."""
    return reach(config, wildcards.device)


def device_states(wildcards):
    """What each device has brought so far: a summary that is new or changed reruns what depends on this."""
    return states(config)


def boards_by_threads(wildcards):
    """By device, a name for all devices that differ from it in their threads alone."""
    return by_threads(config)
