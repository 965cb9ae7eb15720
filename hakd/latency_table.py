"""`hakd sweep`: a latency table of a network on a device alone: no training, no data set."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from hakd.boards import open_board
from hakd.choosing.rivals import uniform
from hakd.device_file import STORE as STORE
from hakd.device_file import Configuration, Entry, check_entry
from hakd.networks.families import FAMILIES, build_graph, full_architecture, full_widths, network_spec
from hakd.prior_tables import likely, prior_session
from hakd.records.arch import Architecture, NetworkSpec, architecture_from
from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.records.tables import write_table
from hakd.staircase.curve import Curve, shape_from
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.inversions import in_words, inversions
from hakd.staircase.mapping import changes, comb, comb_upside_down
from hakd.sweeping.sweep import sweep
from hakd.table_files import check_place

SUFFIXES = (".parquet", ".csv")
IMAGES = {"digits": (1, 10), "cluttered-digits": (1, 10), "cifar10": (3, 10)}  # channels, classes
FURTHER = (
    "  what cannot be told is named below; the same command looks further at it (up to 12 looks in all), or raise "
    "`processes`, or end what else runs on the device"
)
SHOWN = 6  # changes of a curve in the summary

Levels = dict[float, dict[str, Architecture]]


@dataclass(frozen=True)
class Request:
    """What to time.

    Args:
        network: a name of the configuration's `networks`, or a family.
        mode: `map`, `targets` or `exhaustive`.
        out: the table, .parquet or .csv.
        store: folder of the measurements; None: the configuration's.
        levels: fractions of the MACs; below 1 all widths are scaled alike (`uniform`).
        widths: files of widths that a study chose, instead of levels.
        groups: width groups to time; empty: all, and the tiles.
        channels, classes: of the images; None: as the configuration's data set has them.
        priors: latency tables of other devices, which order what is timed (`hakd.transfer`).
        again: measure again what the store has.
    """

    network: str
    mode: str
    out: str
    store: str | None = None
    levels: Sequence[float] = (1.0,)
    widths: Sequence[str] = ()
    groups: Collection[str] = ()
    channels: int | None = None
    classes: int | None = None
    priors: Sequence[str] = ()
    again: bool = False


def make_table(
    entry: Entry, config: Configuration, request: Request, say: Callable[[str], None] = print
) -> None:
    """Time, write the table, print what was found.

    Raises:
        HakdError: an unknown network or group, an impossible level, a table that could not be written, a device that
            does not answer. What was measured stays in the store: the same command goes on.
    """
    check_place(request.out, SUFFIXES, "a table")
    spec = network_of(config, request)
    levels = _levels(spec, request)
    known = list(full_widths(spec))
    for group in request.groups:
        if group not in known:
            remedy = f"Known: {', '.join(known)}"
            raise HakdError(f"no such width group: {group!r}", where=spec.name, key="groups", remedy=remedy)
    store = request.store or config.store()
    session = prior_session(request.priors, say) if request.priors else None
    frame, metadata = sweep(
        entry.device.name,
        entry.settings,
        store,
        levels,
        mode=request.mode,
        groups=request.groups,
        opened=partial(open_board, again=request.again),
        guiding=session.guiding if session else None,
    )
    # What the rows alone do not say, for those who read the table elsewhere.
    metadata |= {"network": spec.to_dict(), "batch": entry.device.batch}
    if session:
        metadata["prior"] = session.about()
    if frame.empty:
        failures = metadata["failures"]
        reason = next(iter(failures.values()), "nothing was timed")
        raise HakdError(reason, where=f"device {entry.device.name}", remedy="Run `hakd doctor` on it")
    try:
        write_table(request.out, "latency", frame, metadata)
    except OSError as error:
        problem = f"cannot write ({error.strerror})"
        remedy = "Make room or give another path, and run it again: what was measured is kept"
        raise HakdError(problem, where=request.out, key="--out", remedy=remedy) from None
    for line in [*summary(frame, metadata), *(likely(session, spec.name) if session else ())]:
        say(line)
    say(f"Written: {request.out} ({len(frame)} rows). Every burst is in {store}.")


def network_of(config: Configuration, request: Request) -> NetworkSpec:
    """The network by its name in the configuration, or a family with its default options.

    Raises:
        HakdError: neither, or settings that do not fit.
    """
    registry = config.registry("networks")
    name = request.network
    if name in registry:
        check_entry("networks", name, registry[name], config.where, "networks.")
    elif name not in FAMILIES:
        known = ", ".join(dict.fromkeys([*map(str, registry), *FAMILIES]))
        remedy = f"Known: {known}"
        raise HakdError(f"unknown network {name!r}", where=config.where, key="networks", remedy=remedy)
    data = config.content.get("data")
    data_set = data.get("name") if isinstance(data, Mapping) else None
    channels, classes = IMAGES.get(str(data_set), (3, 10))
    return network_spec(
        name, registry.get(name, {}), request.channels or channels, request.classes or classes, config.where
    )


def _levels(spec: NetworkSpec, request: Request) -> Levels:
    """Architectures that the curves start from, by level."""
    if request.widths:
        return dict(_from_file(path, request.network) for path in request.widths)
    full = full_widths(spec)

    def macs_of(widths: Mapping[str, int]) -> int:
        return build_graph(Architecture(spec, widths)).macs()

    found: Levels = {}
    for level in request.levels:
        scaled = full_architecture(spec)
        if level < 1:
            scaled = Architecture(spec, dict(uniform(full, level, macs_of)))
        found[level] = {"fisher": scaled}  # the key under which a sweep looks for what its curves start from
    return found


def _from_file(path: str, network: str) -> tuple[float, dict[str, Architecture]]:
    content = read_json(path, "widths")
    methods = content.get("methods")
    if not isinstance(methods, Mapping) or "fisher" not in methods:
        raise HakdError(
            "no pruned widths in it", where=path, key="methods.fisher", remedy="Give another file"
        )
    found = {method: architecture_from(one, path) for method, one in methods.items()}
    named = found["fisher"].spec.name
    if named != network:
        remedy = f"Give {named}, or another file"
        raise HakdError(f"widths of {named!r}, not of {network!r}", where=path, key="network", remedy=remedy)
    level = content.get("level")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= 1:
        problem = f"{level!r} is no level above 0 and up to 1"
        raise HakdError(problem, where=path, key="level", remedy="Give another file")
    return float(level), found


# --- the summary


def summary(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> list[str]:
    """What the curves show, a line per group and level, and how well it is known."""
    engine = f"{metadata['engine']} {metadata['engine_version']}"
    told, curves = metadata["curves_decided"], metadata["curves"]
    place = f"{frame['network'].iloc[0]} on {metadata['device']} ({engine})"
    lines = [f"{place}: {len(frame)} points, {told} of {curves} curves decided, {metadata['seconds']:.0f} s"]
    if told < curves:
        lines.append(FURTHER)
    for level in dict.fromkeys(frame.loc[frame["kind"] == "block", "level"]):
        found = curves_from_table(frame, level)
        wide = max(map(len, found))
        lines.append(f"level {level:g}: latency over the width of each group")
        lines += [f"  {group:<{wide}}  {_about(curve)}" for group, curve in found.items()]
    lines += [f"  {key} failed: {reason}" for key, reason in metadata["failures"].items()]
    return lines


def _about(curve: Curve) -> str:
    """A curve in one line: range, what it is made of, trust."""
    first, last = curve.widths[0], curve.widths[-1]
    text = (
        f"{len(curve.widths)} widths, {_time(curve.latency_ms[0])} at {first},"
        f" {_time(curve.latency_ms[-1])} at {last}: {_features(curve)}"
    )
    inverted = in_words(inversions(curve))
    return "; ".join(part for part in (text, inverted, curve.reason) if part)


def _features(curve: Curve) -> str:
    modulus, inverted = comb(curve), comb_upside_down(curve)
    found = changes(curve)
    shape = shape_from(curve)
    if shape == "line":
        return "a slope without steps"
    if shape == "flat" or not found:
        return "flat" if shape == "flat" else "no step above the tolerance"
    largest = sorted(found, key=lambda change: -abs(change.ratio - 1))[:SHOWN]
    words = [
        f"{change.before}{'->' if change.exact else '...'}{change.after} {change.ratio - 1:+.0%}"
        for change in sorted(largest, key=lambda change: change.before)
    ]
    more = f" and {len(found) - SHOWN} smaller" if len(found) > SHOWN else ""
    teeth = (
        f"a comb of {modulus}; " if modulus else f"multiples of {inverted} are slower; " if inverted else ""
    )
    return f"{teeth}{', '.join(words)}{more}"


def _time(latency_ms: float) -> str:
    return f"{latency_ms:.2f} ms" if latency_ms >= 1 else f"{latency_ms * 1e3:.1f} us"
