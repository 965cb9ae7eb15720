"""The problem of a choice on a device: the pruned network with its curves, and the saliency of its channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from hakd.choosing.baselines import round_to
from hakd.choosing.width_candidates import SHARES, width_candidates
from hakd.networks.families import full_widths
from hakd.pruning.trajectory import regained_saliency
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.staircase.curve import Curve

# Of the pruned width: the latency of another network as a budget may need much narrower widths.
TIGHT_SHARES = (0.7, 0.4)


@dataclass(frozen=True)
class ChoiceProblem:
    """The problem of a choice: the pruned network with its curves, and the saliency of its channels."""

    level: float
    pruned: Architecture
    curves: Mapping[str, Curve]
    trajectory: pd.DataFrame

    @property
    def full(self) -> dict[str, int]:
        """Widths before pruning."""
        return full_widths(self.pruned.spec)

    @property
    def rounded(self) -> dict[str, int]:
        """The pruned widths rounded up to 16."""
        return round_to(self.pruned.widths, self.full)

    @cached_property
    def lowest(self) -> dict[str, int]:
        """The narrowest width of each group for which the trajectory has the saliency."""
        removed = self.trajectory["group"].value_counts()
        return {group: width - int(removed.get(group, 0)) for group, width in self.full.items()}

    def candidates(self, budget: Budget) -> dict[str, list[int]]:
        """Widths to time, by group; narrower than pruned where the trajectory continues to lower levels.

        They include the rounded network's widths and, where the budget is a network's latency, those of that network.
        """
        full, lowest = self.full, self.lowest
        shares = SHARES if budget.same else TIGHT_SHARES
        found = {
            group: width_candidates(self.curves[group], width, full[group], lowest[group], shares=shares)
            for group, width in self.pruned.widths.items()
        }
        reference = budget.reference.widths if budget.reference is not None and budget.same else {}
        for widths in (self.rounded, reference):
            for group, width in widths.items():
                if width >= lowest[group]:
                    found[group] = sorted({*found[group], width})
        return found

    def value(self, widths: Mapping[str, int]) -> float | None:
        """Minus the recorded saliency of the channels that a network drops; None: narrower than recorded."""
        if any(width < self.lowest[group] for group, width in widths.items()):
            return None
        values = self.values({group: [width] for group, width in widths.items()})
        return sum(values[group][width] for group, width in widths.items())

    def values(self, candidates: Mapping[str, Sequence[int]]) -> dict[str, dict[int, float]]:
        """{group: {width: minus the recorded saliency of the channels that it drops}}."""
        return {
            group: {
                width: -regained_saliency(self.trajectory, self.full, group, width, self.full[group])
                for width in widths
            }
            for group, widths in candidates.items()
        }
