"""`hakd sweep`: a latency table of a network on a device, without training and data set."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from hakd.boards import open_board
from hakd.choosing.device_free import scaled
from hakd.latency_tables.priors import likely, prior_session
from hakd.latency_tables.summary import summary
from hakd.networks.families import full_widths, width_groups
from hakd.networks.imported import FAMILY
from hakd.records.arch import Architecture, NetworkSpec, architecture_from
from hakd.records.errors import HakdError
from hakd.records.files import check_place, read_json
from hakd.records.tables import write_table
from hakd.records.text import counted, did_you_mean
from hakd.study.devices import Entry
from hakd.study.files import Configuration
from hakd.study.networks import network_of
from hakd.sweeping.sweep import sweep

SUFFIXES = (".parquet", ".csv")

Levels = dict[float, dict[str, Architecture]]


@dataclass(frozen=True)
class TableRequest:
    """What to time of a network, and where to write it.

    Args:
        network: its name in the configuration, a family, or `package.module:function`.
        mode: `map`, `targets` or `exhaustive`.
        out: the table, .parquet or .csv.
        store: folder of the measurements; None: the configuration's.
        groups: width groups to time; empty: all of them, and the tiles.
        again: measure again what the store has.
        levels: fractions of the MACs; below 1 all widths are scaled by one factor (`uniform`).
        widths: files of widths that a study chose, instead of levels.
        channels, classes: of the images; None: as the configuration's data set has them.
        priors: latency tables of other devices, which order what is timed (`hakd.transfer`).
        image: channels, height and width of an image for a function.
    """

    network: str
    mode: str
    out: str
    store: str | None = None
    groups: Collection[str] = ()
    again: bool = False
    levels: Sequence[float] = (1.0,)
    widths: Sequence[str] = ()
    channels: int | None = None
    classes: int | None = None
    priors: Sequence[str] = ()
    image: Sequence[int] | None = None


def make_table(
    entry: Entry, config: Configuration, request: TableRequest, say: Callable[[str], object] = print
) -> None:
    """Time, write the table, print a summary.

    Raises:
        HakdError: an unknown network or group, an impossible level, a table that could not be written, a device that
            does not answer. What was measured stays in the store: the same command continues.
    """
    check_place(request.out, SUFFIXES, "a table")
    spec = network_of(config, request.network, request.channels, request.classes, request.image)
    levels = _levels(spec, request)
    groups = _chosen(spec, request)
    store = request.store or config.store()
    session = prior_session(request.priors, say) if request.priors else None
    frame, metadata = sweep(
        entry.device.name,
        entry.settings,
        store,
        levels,
        mode=request.mode,
        groups=groups,
        opened=partial(open_board, again=request.again),
        guiding=session.guiding if session else None,
    )
    # What the rows do not hold, for readers of the table elsewhere.
    metadata |= {"network": spec.to_dict(), "batch": entry.device.batch}
    if session:
        metadata["prior"] = session.about()
    notes = likely(session, spec.name) if session else _not_timed(spec)
    write_swept(request, frame, metadata, store, notes, say)


def _chosen(spec: NetworkSpec, request: TableRequest) -> list[str]:
    """The requested width groups, by their names or those of layers that make them; empty: all.

    Raises:
        HakdError: there is no group of that name.
    """
    spellings = {
        name: group.name
        for group in width_groups(spec)
        if group.reason is None
        for name in (*group.makers, group.name)
    }
    for group in request.groups:
        if group not in spellings:
            remedy = did_you_mean(group, full_widths(spec))
            raise HakdError(f"no such width group: {group!r}", where=spec.name, key="groups", remedy=remedy)
    return list(dict.fromkeys(spellings[group] for group in request.groups))


def _not_timed(spec: NetworkSpec) -> list[str]:
    """A line for each width of a network of the user's that cannot be changed."""
    fixed = [group for group in width_groups(spec) if group.reason and spec.family == FAMILY]
    return [f"  {group.name} ({group.width}) was not timed: {group.reason}" for group in fixed]


def write_swept(
    request: TableRequest,
    frame: pd.DataFrame,
    metadata: Mapping[str, Any],
    store: str,
    notes: Iterable[str],
    say: Callable[[str], object],
) -> None:
    """Write the table of a sweep; print what its curves show, then `notes`, then where everything is.

    Raises:
        HakdError: nothing was timed, or the table cannot be written. What was measured stays in the store.
    """
    if frame.empty:
        reason = next(iter(metadata["failures"].values()), "nothing was timed")
        raise HakdError(reason, where=f"device {metadata['device']}", remedy="Run `hakd doctor` on it")
    write_table(request.out, "latency", frame, metadata)
    for line in (*summary(frame, metadata), *notes):
        say(line)
    say(f"Written: {request.out} ({counted(len(frame), 'row')}). Every burst is in {store}.")


def _levels(spec: NetworkSpec, request: TableRequest) -> Levels:
    """Architectures that the curves start from, by level."""
    if request.widths:
        return dict(_from_file(path, request.network) for path in request.widths)
    # A sweep takes the widths that its curves start from under the key `fisher`.
    return {level: {"fisher": scaled(spec, level)} for level in request.levels}


def _from_file(path: str, network: str) -> tuple[float, dict[str, Architecture]]:
    content = read_json(path, "widths")
    methods = content.get("methods")
    if not isinstance(methods, Mapping) or "fisher" not in methods:
        raise HakdError("no pruned widths", where=path, key="methods.fisher", remedy="Give another file")
    found = {method: architecture_from(one, path) for method, one in methods.items()}
    named = found["fisher"].spec.name
    if named != network:
        remedy = f"Give {named}, or another file"
        raise HakdError(f"widths of {named!r}, not of {network!r}", where=path, key="network", remedy=remedy)
    level = content.get("level")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= 1:
        problem = f"{level!r} is not a level above 0 and up to 1"
        raise HakdError(problem, where=path, key="level", remedy="Give another file")
    return float(level), found
