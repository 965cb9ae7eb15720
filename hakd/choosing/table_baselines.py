"""Baselines of the joint choice on the same tables: `knapsack` (each group by itself) and `latency_greedy`.

knapsack: as HALP (Shen et al. 2022) chooses. What a group's width saves is read off once, at the pruned widths of its
neighbours, and savings are added up; the best sum of values is a knapsack then.
latency_greedy: as NetAdapt (Yang et al. 2018) walks. From the full network, again and again the narrowing that loses
least value per millisecond at the widths reached so far, until the budget is kept.
"""

from collections.abc import Mapping

from hakd.choosing.joint import Joint, NoneFits, choose, evaluate
from hakd.choosing.tile_costs import PROBABILITY, Cost, TileTable, Values, latency_of
from hakd.records.errors import SWEEP_AGAIN, HakdError


def separable(cost: Cost, twin: Mapping[str, int]) -> Cost:
    """The same device with one table per group: its tiles' latencies by its width, the neighbours at `twin`'s widths.

    What the groups' tables count twice is taken off the overhead, so that the twin costs what the full tables say.
    The error of a group's table is that of its tiles together; shared tiles count in each. Tiles without groups stay.

    Raises:
        HakdError: a table without the twin's widths.
    """
    tables = [tile for tile in cost.tiles if not tile.groups]
    counted = sum(tile.latency_ms[()] for tile in tables)
    for group, own in twin.items():
        touched = [tile for tile in cost.tiles if group in tile.groups]
        if not touched:
            continue
        latency: dict[tuple[int, ...], float] = {}
        sigma: dict[tuple[int, ...], float] = {}
        for width in sorted({key[tile.groups.index(group)] for tile in touched for key in tile.latency_ms}):
            at = {**twin, group: width}
            keys = [tuple(at[name] for name in tile.groups) for tile in touched]
            if all(key in tile.latency_ms for tile, key in zip(touched, keys, strict=True)):
                pairs = list(zip(touched, keys, strict=True))
                latency[(width,)] = sum(tile.latency_ms[key] for tile, key in pairs)
                sigma[(width,)] = sum(tile.sigma_ms[key] ** 2 for tile, key in pairs) ** 0.5
        if (own,) not in latency:
            raise HakdError("its pruned width was not timed", key=group, remedy=SWEEP_AGAIN)
        counted += latency[(own,)]
        tables.append(TileTable(group, (group,), latency, sigma))
    whole = latency_of(cost, twin)[0]
    return Cost(cost.name, tables, cost.budget_ms, whole - counted)


def knapsack(values: Values, cost: Cost, twin: Mapping[str, int], probability: float = PROBABILITY) -> Joint:
    """The widths of highest value whose latency, each group counted by itself, meets the budget.

    `latency_ms` is what this method believes: its own sum, not that of the full tables.

    Raises:
        NoneFits: no widths meet the budget.
        HakdError: a table without the twin's widths.
    """
    return choose(values, [separable(cost, twin)], probability)


def latency_greedy(
    values: Values, cost: Cost, twin: Mapping[str, int] | None = None, probability: float = PROBABILITY
) -> Joint:
    """From the widest widths of the tables, the narrowing of least value lost per ms saved, until the budget is kept.

    A step takes one group to any narrower width that saves time, so that it can pass a comb's slow widths.

    Args:
        values: {group: {width: value}}.
        cost: the device and its budget.
        twin: not used; the baselines share one signature.
        probability: with which the budget is to be kept.

    Raises:
        NoneFits: nothing saves time any more and the budget is not kept.
    """
    widths = {group: max(by_width) for group, by_width in values.items()}
    mean, upper = latency_of(cost, widths, probability)
    while upper > cost.budget_ms:
        best: tuple[float, str, int] | None = None
        for group, by_width in values.items():
            for width in by_width:
                if width >= widths[group]:
                    continue
                saved = mean - latency_of(cost, {**widths, group: width}, probability)[0]
                if saved > 0:
                    lost = by_width[widths[group]] - by_width[width]
                    best = min(best or (lost / saved, group, width), (lost / saved, group, width))
        if best is None:
            raise NoneFits(
                f"narrowing one group after the other ends at {upper:.4g} ms, the budget is {cost.budget_ms:g} ms",
                where=cost.name,
                key="budget",
                remedy="Raise the budget, or lower `choosing.reach` or `run.levels` so that narrower widths are timed",
            )
        widths[best[1]] = best[2]
        mean, upper = latency_of(cost, widths, probability)
    return evaluate(values, [cost], widths, probability)
