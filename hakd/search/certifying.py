"""Certificates of the networks chosen on a device, each from separate bursts that nothing else uses."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hakd.boards import Board, Burst, Point, Protocol
from hakd.choosing.certificate import Certificate, Claim, Place, certify
from hakd.records.arch import Architecture
from hakd.records.files import digest
from hakd.search.budget import Budget
from hakd.study.measuring import Measuring
from hakd.sweeping.parts import engine_graph, network_point, point

log = logging.getLogger(__name__)
MORE_PROCESSES = 3  # than verification: with few processes, bounds that hold together are wide
ROUNDS = 6  # at most in each, of half the length: the fastest of many short bursts repeats best
TWIN = "its twin"


def protocol(measuring: Measuring) -> Protocol:
    """How certificates are timed: one look of a number of processes that is fixed in advance."""
    return Protocol(
        processes=measuring.benchmark_processes + MORE_PROCESSES,
        rounds=min(measuring.rounds, ROUNDS),
        burst_ms=measuring.burst_ms / 2,
        warmup_ms=measuring.burst_ms / 2,  # the fastest call of all bursts counts: a short warm-up is enough
        chunk_points=1000,  # all in every process, so that each pair shares all of them
    )


def certify_network(
    board: Board,
    measuring: Measuring,
    pruned: Architecture,
    chosen: Architecture,
    choices: Sequence[Mapping[str, Any]],
    budget: Budget,
) -> list[Certificate]:
    """Time the moved groups' decision blocks and the whole network again, against their widths before.

    A block is timed at the group's width before and after, its neighbours at the widths of the network that was chosen
    in the end. Equal networks share their certificates.

    Args:
        board: an open one.
        measuring: how its device is measured.
        pruned: the network before.
        chosen: the network after.
        choices: a record per group with `width_from`, `width_to` and `tolerance`.
        budget: the budget that the whole network is compared with.
    """
    claims, points = _claims(board, pruned, chosen, choices, budget)
    found = certify(_timed(board, measuring, points), claims, _place(board))
    for one in found:
        log.info("%s%s", f"{one.group}: " if one.group else "", one.words)
    return found


def certify_whole(
    board: Board, measuring: Measuring, pruned: Architecture, chosen: Sequence[Architecture], budget: Budget
) -> list[Certificate]:
    """A certificate for each whole network, all timed in one session; each holds by itself.

    There is none for single widths: their blocks would need a session for each network.
    """
    claims: list[Claim] = []
    points: dict[str, Point] = {}
    for network in chosen:
        claim, needed = _whole(board, pruned, network, budget)
        claims.append(claim)
        points |= {one.key: one for one in needed}
    base = next((points[claim.other] for claim in claims if claim.other is not None), None)
    bursts = _timed(board, measuring, [replace(one, curve="") for one in points.values()], base)
    return [one for claim in claims for one in certify(bursts, [claim], _place(board))]


def _timed(
    board: Board, measuring: Measuring, points: Sequence[Point], base: Point | None = None
) -> dict[str, list[Burst]]:
    """Bursts of a separate session; `base` is in each of its processes."""
    how = protocol(measuring)
    keys = sorted(one.key for one in points)
    name = f"certify:{digest(keys)}:{how.processes}x{how.rounds}x{how.burst_ms:g}ms"
    return board.measure(points, how, name, base) if points else {}


def _place(board: Board) -> Place:
    device = board.device
    return Place(device.name, device.engine, board.engine_version, device.threads)


def _claims(
    board: Board,
    pruned: Architecture,
    chosen: Architecture,
    choices: Sequence[Mapping[str, Any]],
    budget: Budget,
) -> tuple[list[Claim], list[Point]]:
    """The claims about a network, and the points that they need."""
    whole, points = _whole(board, pruned, chosen, budget)
    claims = [whole]
    for choice in choices:
        group, before, after = choice["group"], choice["width_from"], choice["width_to"]
        if before == after:
            continue
        pair = []
        for channels in (after, before):
            network = chosen.at({group: channels})
            label = f"{chosen.spec.name} {chosen.arch} {group} = {channels}"
            pair.append(point(engine_graph(network).block(group), label, board.device, curve=group))
        points += pair
        new, old = (one.key for one in pair)
        claims.append(Claim(new, old, group, before, after, tolerance=choice["tolerance"]))
    return claims, points


def _whole(
    board: Board, pruned: Architecture, chosen: Architecture, budget: Budget
) -> tuple[Claim, list[Point]]:
    """The claim about the whole network against its twin, or the network that gave the budget, and its points."""
    reference = budget.reference
    is_twin = reference is not None and reference.arch == pruned.arch and budget.share == 1
    than = TWIN if is_twin else budget.words
    if reference is not None and reference.arch == chosen.arch and budget.share == 1:
        return Claim(None, None, than=TWIN if is_twin else "the one that gave the budget"), []
    networks = [chosen] if reference is None else [chosen, reference]
    points: list[Point] = [network_point(network, board.device, curve="network") for network in networks]
    other = None if reference is None else points[1].key
    claim = Claim(points[0].key, other, share=budget.share, limit_ms=budget.latency_ms, than=than)
    return claim, points
