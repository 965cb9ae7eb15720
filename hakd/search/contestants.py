"""Makes the networks that race within a budget: solves on the tables, scales profiles, times all networks whole.

Probes come first, in few processes: answers on the tables, which learn from them, and scaled profiles, which the tables
do not cover. Networks that meet the budget by the probes are timed again, in one interleaved session of separate
processes. Those shown there to meet the budget race.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hakd.choosing.baselines import aligned_scalings, rounded_scalings
from hakd.choosing.contestants import (
    COUNTED,
    RUNNER_UP,
    Answer,
    Widths,
    apart,
    bracket,
    evenly,
    runners_up,
    within,
)
from hakd.choosing.joint import NoneFits, OutOfTime, choose
from hakd.choosing.race import ALIGNED, JOINT, REFERENCE
from hakd.choosing.tile_costs import NOTHING, PROBABILITY, Cost, Values, Worth, latency_of
from hakd.networks.prunable import prunable_groups
from hakd.search.certifying import MORE_PROCESSES, certify_whole
from hakd.search.choice_records import TOGETHER, table_records
from hakd.search.chooser import Chooser
from hakd.search.fleet_record import finite
from hakd.search.screening import Measure, learned
from hakd.study.races import RACE

log = logging.getLogger(__name__)

MULTIPLES = dict(zip(ALIGNED, (16, 8), strict=True))
ROOM = 0.98  # of the budget: a network that takes less is likely to be shown to keep it
SHARES = (1.0, ROOM)  # of the budget, for which the tables are solved in each session of probes
PROBE_PROCESSES = 2  # enough to show which networks to time well
RUNGS = 5  # most scalings of each profile that a session times
UNUSED = 0.9  # of the budget: a runner-up that takes less wastes it
SOLVE_S = 10.0  # for each program: the best by a proxy needs no proof

HOW = {
    JOINT: TOGETHER,
    "joint/macs": f"{TOGETHER} for most MACs",
    "joint/params": f"{TOGETHER} for most parameters",
    RUNNER_UP: f"{TOGETHER}, apart from better ones",
    **{origin: f"the profile of {origin} scaled to the budget" for origin in ALIGNED},
    REFERENCE: "the network that gave the budget",
}

Key = tuple[tuple[str, int], ...]


def race_contestants(chooser: Chooser, most: int, groups: str = "all") -> dict[str, Any]:
    """The networks that race for a chooser's budget, as the snap file holds them.

    Args:
        chooser: gives the choice of `joint`, made now if needed.
        most: largest number of contestants.
        groups: which widths scaled profiles may narrow (`prune.groups`).

    Returns:
        `budget` (its label), `budget_ms`, `reference` (arch, or None), `reason`, `contestants` (architecture, `method`,
        `origin`, `value`: minus the saliency lost, None where it is not recorded, measured latency with its upper end,
        `kept`, `choices`, `certificates` of the whole network), `survivors` (archs, at first of all) and `search_s`.

    Raises:
        HakdError: as for `Chooser.chosen`.
    """
    own = chooser.chosen("joint")
    start = chooser.board.clock_s()
    field = _Field(chooser, most, groups)
    many = chooser.measuring.benchmark_processes + MORE_PROCESSES
    for share in SHARES:
        field.probe(share, chooser.measure("screen", PROBE_PROCESSES))
    measured = _measured(field.finalists(), chooser.measure(RACE, many))
    reference = chooser.budget.reference if chooser.budget.same else None
    same = reference.widths if reference else None
    contestants, reason = within(measured, chooser.cost.budget_ms, most, same, own.kept)
    log.info("race at %g for %s: %s", chooser.problem.level, chooser.budget.words, reason)
    records = _records(chooser, contestants, field.learned())
    return {
        "budget": chooser.budget.label,
        "budget_ms": chooser.cost.budget_ms,
        "reference": chooser.budget.reference.arch if chooser.budget.reference else None,
        "reason": reason,
        "contestants": records,
        "survivors": [record["arch"] for record in records],
        "search_s": chooser.timed.seconds + own.seconds + chooser.board.clock_s() - start,
    }


class _Field:
    """The networks tried so far, and their latencies (ms)."""

    def __init__(self, chooser: Chooser, most: int, groups: str) -> None:
        self._chooser, self._values = chooser, chooser.timed.values
        self._runners = max(0, most - 1 - len(COUNTED) - len(ALIGNED))
        self._own = chooser.chosen("joint").verified.widths
        self._answers: list[Answer] = []
        pruned, full = chooser.problem.pruned, chooser.problem.full
        chosen = prunable_groups(pruned.spec, groups)
        some = {group: full[group] for group in chosen}
        profile = {group: pruned.widths[group] for group in chosen}
        scalings = (
            rounded_scalings(profile, some, MULTIPLES["round16"]),
            aligned_scalings(some, MULTIPLES["uniform_aligned"]),
        )
        self._rungs = {
            origin: [pruned.at(widths).widths for widths in own]
            for origin, own in zip(ALIGNED, scalings, strict=True)
        }
        measured_ms = chooser.timed.tables.measured_ms
        self._seen = {
            _key(network.widths): measured_ms[arch]
            for arch, network in chooser.timed.networks.items()
            if arch in measured_ms
        }
        self._seen |= {
            _key(one.widths): one.latency_ms[chooser.cost.name] for one in chooser.chosen("joint").answers
        }

    def learned(self) -> Cost:
        """The tables' costs after learning from all networks timed whole."""
        return learned(self._chooser.cost, [(dict(key), ms) for key, ms in self._seen.items()])

    def probe(self, share: float, measure: Measure) -> None:
        """Time answers for a share of the budget, and scalings around the widest that keeps it."""
        now = self.learned()
        asked = self._solved(replace(now, budget_ms=share * now.budget_ms))
        self._answers += asked
        wanted = [one.widths for one in asked]
        wanted += [self._rungs[origin][place] for origin in ALIGNED for place in self._between(origin, RUNGS)]
        fresh = [dict(key) for key in dict.fromkeys(map(_key, wanted)) if key not in self._seen]
        for widths, time in zip(fresh, measure(fresh) if fresh else [], strict=True):
            if time is not None:
                self._seen[_key(widths)] = time[0]

    def finalists(self) -> list[Answer]:
        """Networks to time again: `joint`'s own, and of each origin those that meet the budget, or come closest."""
        found = [Answer(JOINT, self._own, self._worth(self._own))]
        for origin in COUNTED:
            found += self._best([one for one in self._answers if one.origin == origin])
        pool = [one for one in self._answers if one.origin == RUNNER_UP] + self._screened()
        for share in SHARES:
            inside = [one for one in pool if self._ms(one.widths) <= share * self._budget_ms]
            found += runners_up(inside, [self._own], self._runners)
        for origin, rungs in self._rungs.items():
            places = dict.fromkeys([*self._sure(origin), *self._between(origin, RUNGS - 2)])
            found += [Answer(origin, rungs[place], float(place)) for place in places]
        return found

    @property
    def _budget_ms(self) -> float:
        return self._chooser.cost.budget_ms

    def _ms(self, widths: Widths) -> float:
        return self._seen.get(_key(widths), math.inf)

    def _worth(self, widths: Widths) -> float:
        value = self._chooser.problem.value(widths)
        return -math.inf if value is None else value

    def _solved(self, now: Cost) -> list[Answer]:
        """The best by each count, then runners-up, each apart from those before it."""
        values, counts = self._values, self._chooser.timed.tables.counts
        nothing = {group: dict.fromkeys(some, 0.0) for group, some in values.items()}
        found = []
        for origin, count in COUNTED.items():
            found += _answer(origin, nothing, now, counts[count])
        others = [self._own]
        for _ in range(self._runners):
            answers = _answer(RUNNER_UP, apart(values, self._own, others), now)
            found += [replace(one, worth=self._worth(one.widths)) for one in answers]
            others += [one.widths for one in answers]
        return found

    def _screened(self) -> list[Answer]:
        """`joint`'s other answers that use the budget; baselines are not runners-up."""
        known = [network.widths for network in self._chooser.timed.networks.values()]
        return [
            Answer(RUNNER_UP, one.widths, one.value)
            for one in self._chooser.chosen("joint").answers
            if one.widths not in known and self._ms(one.widths) >= UNUSED * self._budget_ms
        ]

    def _best(self, answers: Sequence[Answer]) -> list[Answer]:
        """Of one origin's answers the most valuable within each share of the budget; else the fastest."""
        found = []
        for share in SHARES:
            inside = [one for one in answers if self._ms(one.widths) <= share * self._budget_ms]
            found += sorted(inside, key=lambda one: -one.worth)[:1]
        return found or sorted(answers, key=lambda one: self._ms(one.widths))[:1]

    def _keeps(self, origin: str, share: float = 1.0) -> dict[int, bool]:
        """For each timed scaling of a profile: whether it takes at most this share of the budget."""
        rungs = enumerate(self._rungs[origin])
        times = {place: self._seen[_key(widths)] for place, widths in rungs if _key(widths) in self._seen}
        return {place: ms <= share * self._budget_ms for place, ms in times.items()}

    def _between(self, origin: str, count: int) -> list[int]:
        """Scalings to time next: between the widest that meets the budget and the first that does not."""
        low, high = bracket(self._keeps(origin), len(self._rungs[origin]))
        return evenly(low, high, count)

    def _sure(self, origin: str) -> list[int]:
        """The widest scaling that meets the budget, and the widest that keeps it with some room; else the narrowest."""
        ends = [bracket(self._keeps(origin, share), len(self._rungs[origin]))[0] for share in SHARES]
        return [max(place, 0) for place in ends]


def _answer(origin: str, values: Values, now: Cost, worth: Worth = NOTHING) -> list[Answer]:
    """The best widths by these values; none where no widths meet the budget or none were found in time."""
    try:
        found = choose(values, [now], PROBABILITY, SOLVE_S, worth)
    except (NoneFits, OutOfTime):
        return []
    return [Answer(origin, found.widths, found.value)]


def _key(widths: Widths) -> Key:
    return tuple(sorted(widths.items()))


def _measured(finalists: Sequence[Answer], measure: Measure) -> list[Answer]:
    """The finalists with their times in one session, without those that the device failed on."""
    keys = list(dict.fromkeys(_key(one.widths) for one in finalists))
    times = dict(zip(keys, measure([dict(key) for key in keys]), strict=True))
    found = []
    for one in finalists:
        time = times[_key(one.widths)]
        if time is not None:
            found.append(replace(one, latency_ms=time[0], upper_ms=time[1]))
    return found


def _records(chooser: Chooser, contestants: Sequence[Answer], now: Cost) -> list[dict[str, Any]]:
    """Contestants as JSON holds them."""
    problem, budget = chooser.problem, chooser.budget
    networks = [problem.pruned.at(one.widths) for one in contestants]
    certificates = certify_whole(chooser.board, chooser.measuring, problem.pruned, networks, budget)
    records = []
    for one, network, certificate in zip(contestants, networks, certificates, strict=True):
        values = problem.values({g: [w, network.widths[g]] for g, w in problem.pruned.widths.items()})
        records.append(
            {
                **network.to_dict(),
                "method": RACE,
                "origin": one.origin,
                "value": problem.value(network.widths),
                "latency_ms": one.latency_ms,
                "latency_high_ms": finite(one.upper_ms),
                "predicted_ms": finite(latency_of(now, network.widths)[0]),
                "kept": one.kept,
                "choices": table_records(RACE, problem, network, budget, now.name, values, HOW[one.origin]),
                "certificates": [certificate.to_dict()],
            }
        )
    return records
