"""The contrasts that a configuration declares, checked before anything runs. Read by the rules: no heavy imports.

analysis:
  contrasts:
    - {a: hakd/tuned/logits, b: fisher/tuned/ce}
    - {a: joint@round16, b: joint@fisher, name: budget}
    - {a: fisher/tuned_coded/ce, b: deep_compression, at: size}
"""

from collections.abc import Mapping
from typing import Any

from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean
from hakd.study.candidates import FLEET, baselines, expected_students
from hakd.study.fleets import selected

Config = Mapping[str, Any]
Series = tuple[str, str | None, str, str]  # method (of a fleet with its name), budget, recipe, loss


def check_contrasts(config: Config, where: str) -> None:
    """Refuse contrasts that could not be computed, before hours of training.

    Raises:
        HakdError: a series that the study does not make, or a name for several; a series against itself; a contrast or
            a name given twice for one `at`.
    """
    declared = config.get("analysis", {}).get("contrasts", [])
    if not declared:
        return
    known = series_of(config)
    seen: dict[tuple[frozenset[Series], str], int] = {}
    names: set[tuple[str, str]] = set()
    for number, entry in enumerate(declared):
        key = f"analysis.contrasts.{number}"
        series = frozenset(_series(known, entry[side], where, f"{key}.{side}") for side in "ab")
        at = entry.get("at", "latency")
        pair = (series, at)
        if len(series) == 1:
            raise _refused("a series against itself", where, key, "Name two different series")
        if pair in seen:
            raise _refused(
                f"the same as analysis.contrasts.{seen[pair]}", where, key, "Name each contrast once"
            )
        seen[pair] = number
        name = entry.get("name", f"{entry['a']} - {entry['b']}")
        if (name, at) in names:
            raise _refused(f"duplicate name {name!r}", where, f"{key}.name", "Choose another")
        names.add((name, at))


def series_of(config: Config) -> list[Series]:
    """Every series that the study makes candidates of."""
    network, device = config["run"]["networks"][0], config["run"]["devices"][0]
    found: list[Series] = []
    for one in [*baselines(config, network), *expected_students(config, network, device, selected(config))]:
        method = f"{FLEET} {one.target_device}" if one.method == FLEET else one.method
        found.append((method, one.budget, one.recipe, one.loss))
    return list(dict.fromkeys(found))


def _series(known: list[Series], spec: str, where: str, key: str) -> Series:
    """The one series that a text names."""
    head, *rest = spec.split("/")
    method, at, budget = head.partition("@")
    methods = list(dict.fromkeys(one[0] for one in known))
    if method not in methods:
        remedy = f"{did_you_mean(method, methods)} (or add it to `run.methods`)"
        raise _refused(f"unknown method {method!r}, or one that is not run", where, key, remedy)
    own = [one for one in known if one[0] == method]
    matching = [one for one in own if (not at or one[1] == budget) and list(one[2:])[: len(rest)] == rest]
    if len(rest) > 2 or len(matching) != 1:
        several = matching and len(rest) <= 2
        problem = f"{spec!r} {'matches several series' if several else 'matches no series of the study'}"
        words = ", ".join(_text(one) for one in (matching if several else own))
        raise _refused(problem, where, key, f"Name one of: {words}")
    return matching[0]


def _text(series: Series) -> str:
    method, budget, recipe, loss = series
    return "/".join((f"{method}@{budget}" if budget else method, recipe, loss))


def _refused(problem: str, where: str, key: str, remedy: str) -> HakdError:
    return HakdError(problem, where=where, key=key, remedy=remedy)
