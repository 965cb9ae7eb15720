"""The energy of one inference, from bursts that a board's sensor saw."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from hakd.analysis.spread import student_interval

COLUMNS = ("energy_mj", "energy_low_mj", "energy_high_mj", "idle_w")


def energy_columns(bursts: Sequence[Mapping[str, Any]] | None) -> dict[str, float | None]:
    """Columns of the summary: mean over bursts with its 95 % Student-t interval, and the power at rest before them.

    The power at rest is not subtracted: a board that waits needs it too.

    Args:
        bursts: as `Board.energy` has them; None where nothing was measured, which gives nothing but null.
    """
    if not bursts:
        return dict.fromkeys(COLUMNS)
    each_mj = [1e3 * burst["joules"] / burst["calls"] for burst in bursts]
    low, high = student_interval(each_mj)
    values = (mean(each_mj), max(0.0, low), high, median(burst["idle_w"] for burst in bursts))
    return dict(zip(COLUMNS, values, strict=True))
