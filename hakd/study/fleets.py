"""Fleets: devices that share one network. What the configuration says of them, read by the rules at planning time.

    fleets:
      pis:
        devices: [pi4, pi5]
        budget: {like: round16}                 # of every member; default: the first of choosing.budgets
        budgets: {pi5: {latency_ms: 2.5}}       # of single members

No heavy imports.
"""

from collections.abc import Mapping
from typing import Any

from hakd.records.errors import HakdError
from hakd.study.budgets import budgets_of

# Budgets that are another network for each device, so that the members' own choices must be known before.
_OWN = ("hakd", "hakd_free")

Config = Mapping[str, Any]


def selected(config: Config) -> list[str]:
    """The fleets that this study runs."""
    return list(config["run"].get("fleets", ()))


def members(config: Config, fleet: str) -> list[str]:
    """The devices of a fleet, in one order whatever the configuration's."""
    return sorted(config["fleets"][fleet]["devices"])


def fleets_of(config: Config, device: str) -> list[str]:
    """The selected fleets that a device belongs to."""
    return [fleet for fleet in selected(config) if device in members(config, fleet)]


def budgets(config: Config, fleet: str) -> dict[str, dict[str, Any]]:
    """{member: its budget, as `choosing.budgets` has them}."""
    entry = config["fleets"][fleet]
    shared = entry.get("budget") or budgets_of(config)[0]
    single = entry.get("budgets", {})
    return {device: dict(single.get(device, shared)) for device in members(config, fleet)}


def snapped_members(config: Config, fleet: str) -> list[str]:
    """Members whose budget is the latency of what HAKD chose for them: their choices come first."""
    return [device for device, budget in budgets(config, fleet).items() if budget.get("like") in _OWN]


def waiting_for(config: Config, troubled: Mapping[str, object]) -> dict[str, list[str]]:
    """{device that works: the fleets that it shares with a troubled one}: it cannot time their networks yet."""
    found = {}
    for device in config["run"]["devices"]:
        shared = [fleet for fleet in fleets_of(config, device) if set(members(config, fleet)) & set(troubled)]
        if shared and device not in troubled:
            found[device] = shared
    return found


def check_fleets(config: Config, where: str) -> None:
    """Refuse what the schema lets pass.

    Raises:
        HakdError: an unknown fleet or device, fewer than two devices, a device that is not run, a fleet named like a
            device, a budget for a device that is not a member.
    """
    registry, devices = config.get("fleets", {}), config["devices"]
    known = ", ".join(registry) or "none"
    for fleet in selected(config):
        if fleet not in registry:
            raise HakdError(
                f"unknown fleet {fleet!r}",
                where=where,
                key="run.fleets",
                remedy=f"Add it to `fleets`, or use one of: {known}",
            )
    taken = {name.lower() for name in devices}
    for fleet in registry:
        if fleet.lower() in taken:
            raise HakdError(
                "has the name of a device or another fleet",
                where=where,
                key=f"fleets.{fleet}",
                remedy="Rename it: candidates are named after what they were chosen for",
            )
        taken.add(fleet.lower())
        _check_members(config, fleet, where)


def _check_members(config: Config, fleet: str, where: str) -> None:
    entry, key = config["fleets"][fleet], f"fleets.{fleet}.devices"
    listed = entry.get("devices", [])
    unknown = next((name for name in listed if name not in config["devices"]), None)
    if unknown is not None:
        known = ", ".join(config["devices"])
        raise HakdError(
            f"unknown device {unknown!r}",
            where=where,
            key=key,
            remedy=f"Add it to `devices`, or use some of: {known}",
        )
    if len(set(listed)) < 2:
        raise HakdError(
            "fewer than two devices",
            where=where,
            key=key,
            remedy="Name two devices or more; one device alone is what the method `joint` is for",
        )
    idle = next((name for name in listed if name not in config["run"]["devices"]), None)
    if idle is not None and fleet in selected(config):
        raise HakdError(
            f"{idle!r} is not run",
            where=where,
            key=key,
            remedy=f"Add it to `run.devices`, or take {fleet!r} out of `run.fleets`",
        )
    stranger = next((name for name in entry.get("budgets", {}) if name not in listed), None)
    if stranger is not None:
        raise HakdError(
            f"a budget for {stranger!r}, which is not a member",
            where=where,
            key=f"fleets.{fleet}.budgets",
            remedy=f"Members: {', '.join(listed)}",
        )
