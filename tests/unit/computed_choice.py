"""A network pruned at random and swept on a virtual device that is computed in this process."""

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from benchmarks.computed import ComputedBoard, Truth
from benchmarks.joint_choice import LEVEL, lost_share, pruning, true_ms
from hakd.boards import Device
from hakd.boards.cost_model import cost_model_from
from hakd.choosing.device_free import choose_device_free
from hakd.networks.families import full_widths
from hakd.records.arch import Architecture, NetworkSpec
from hakd.search.by_tables import TableMethods
from hakd.search.problem import ChoiceProblem
from hakd.search.snapping import Snapped, snap_network
from hakd.staircase.curve_rows import curves_from_table
from hakd.sweeping.sweep import sweep

# So slow that the smallest networks take about a millisecond: below that, calls of the engine are all there is.
MODEL = {
    "overhead_us": 3.0,
    "us_per_mmac": 20000.0,
    "depthwise_us_per_mmac": 20000.0,
    "tile_out": 8,
    "tile_in": 4,
    "penalty_in": 1.35,
    "noise": {"sigma": 0.01, "process_sigma": 0.01, "drift": 0.002},
}


class ComputedChoice:
    """The network, its curves and what a study would choose for it; the truth is a formula."""

    def __init__(self, spec: NetworkSpec, seed: int = 1, **model: Any) -> None:
        self.spec = spec
        self.full = full_widths(spec)
        self.pruned, self.trajectory = pruning(spec, seed)
        self.free = choose_device_free(self.pruned, LEVEL, seed)
        content = {**MODEL, **model, "seed": seed}
        self.model = cost_model_from(content)
        self.settings = {"transport": "virtual", "min_step": 0.1, "cost_model": content}
        self.board = ComputedBoard(Device.from_config("vdev", self.settings), Truth(self.model), seed)

    @contextlib.contextmanager
    def opened(self, *_: object):
        """In the place of `open_board`."""
        yield self.board

    @cached_property
    def problem(self) -> ChoiceProblem:
        table, _ = sweep("vdev", self.settings, "unused", {LEVEL: self.free}, opened=self.opened)
        return ChoiceProblem(LEVEL, self.pruned, curves_from_table(table, LEVEL), self.trajectory)

    def snap(self, methods: Sequence[str], *budgets: Mapping[str, Any], **more: Any) -> Snapped:
        """All choices."""
        asked = TableMethods(methods, budgets, self.free, **more)
        return snap_network("vdev", self.settings, "unused", self.problem, asked, opened=self.opened)

    def true_ms(self, widths: Mapping[str, int]) -> float:
        """By the formula."""
        return true_ms(Architecture(self.spec, dict(widths)), self.model)

    def lost(self, widths: Mapping[str, int]) -> float:
        """Share of all recorded saliency."""
        return lost_share(widths, self.full, self.trajectory)
