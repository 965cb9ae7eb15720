"""Latency tables of other devices, from which a prior is learned (`hakd sweep --prior`)."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from hakd.latency_tables.files import all_curves, read_latency
from hakd.latency_tables.parts import parts_of, spec_from
from hakd.networks.families import full_widths
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.text import counted
from hakd.sweeping.parts import engine_graph
from hakd.transfer.prior import Session, TimedCurve, learn_prior
from hakd.transfer.shapes import BlockShape, block_shape, plain_shape

LEAST = 4  # fewest widths of a curve to learn from
NAMED = 4  # likely steps of a curve that are printed


def prior_session(paths: Sequence[str], say: Callable[[str], object] = print) -> Session:
    """A prior learned from latency tables; those of one device (by fingerprint, else by file) are one task.

    Raises:
        HakdError: a file is not a latency table, the tables have no curve to learn from, gpytorch is not installed.
    """
    devices: dict[str, list[TimedCurve]] = {}
    for path in paths:
        frame, about = read_latency(path)
        name = f"{about['device']} {about['fingerprint']}" if about.get("fingerprint") else path
        devices.setdefault(name, []).extend(timed_curves(frame, about, path))
    count = sum(map(len, devices.values()))
    if not count:
        remedy = "Give tables of `hakd sweep --mode map`"
        raise HakdError(f"no curve of {LEAST} widths", where=", ".join(paths), key="--prior", remedy=remedy)
    found = Session(learn_prior(devices))
    learned = len([curves for curves in devices.values() if curves])
    say(f"Prior: learned from {counted(count, 'curve')} of {counted(learned, 'device')}.")
    return found


def timed_curves(frame: pd.DataFrame, about: dict[str, Any], where: object) -> Iterator[TimedCurve]:
    """Curves of a table that two processes timed, with the shapes of their blocks.

    In a table that does not describe its network (CSV), the part of each curve is unknown.

    Raises:
        HakdError: rows that do not fit the network that the table describes.
    """
    spec = spec_from(about, where)
    blocks = frame[frame["kind"] == "block"]
    for curve in all_curves(frame):
        if len(curve.widths) < LEAST or curve.residual_p95 is None:
            continue
        shape = plain_shape(curve.group, curve.widths[-1])
        if spec is not None:
            rows = blocks[(blocks["level"] == curve.level) & (blocks["group"] == curve.group)]
            shape = _shape(spec, rows, where)
        yield TimedCurve(shape, curve.widths, curve.latency_ms, curve.residual_p95)


def _shape(spec: NetworkSpec, rows: pd.DataFrame, where: object) -> BlockShape:
    """The shape of a curve's block, checked against the hash of its first row."""
    first = rows.iloc[:1]
    list(parts_of(first, spec, where))
    group = str(first["group"].iloc[0])
    full = full_widths(spec)
    around = {**full, **json.loads(first["neighbour_widths"].iloc[0])}

    def graph(channels: int) -> Any:
        return engine_graph(Architecture(spec, {**around, group: channels})).block(group)

    return block_shape(group, full[group], graph)


def likely(session: Session, network: str) -> Iterable[str]:
    """Lines that name the likely steps that were not timed on both sides."""
    for name, steps in session.steps().items():
        timed = set(session.seen[name].widths)
        open_ = [one for one in steps if not {one.before, one.after} <= timed]
        if open_:
            words = [f"{one.before}->{one.after} {one.ratio - 1:+.0%}" for one in open_[:NAMED]]
            more = f" and {len(open_) - NAMED} smaller" if len(open_) > NAMED else ""
            yield f"  {name.removeprefix(network).strip()}: likely, not timed: {', '.join(words)}{more}"
