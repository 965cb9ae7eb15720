"""A latency table in words: what each curve shows, and how well it is known."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hakd.staircase.combs import comb, comb_upside_down
from hakd.staircase.curve import Curve, shape_from
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.inversions import in_words, inversions
from hakd.staircase.mapping import changes
from hakd.study.files import STORE as STORE

FURTHER = (
    "  what cannot be told is named below; the same command looks further at it (up to 12 looks in all), or raise "
    "`processes`, or end what else runs on the device"
)
SHOWN = 6  # changes of a curve in the summary


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
