"""What explaining a model will cost, reported once the whole model is timed, and which groups come first."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from hakd.importing.groups import Group, WidthGroups
from hakd.importing.kinds import LAYERS
from hakd.importing.model import Model
from hakd.records.text import counted
from hakd.study.measuring import Measuring
from hakd.sweeping.following import LENGTHS

GMACS = 2.0  # assumed where the whole model could not be timed: thousand million a second
_ODDNESS = ((8, 1.0), (16, 0.5), (32, 0.25))  # how likely a width loses time that is not a multiple of these
_EVEN = 0.1
SETS_S = 240.0  # for the whole models that are timed, about
_SETS = (9, 40)  # of them, at least and at most
_MORE = 1.5  # points that the curves need, over those that they begin with


@dataclass(frozen=True)
class ExplainPlan:
    """Points and seconds of explaining a model.

    Attributes:
        points: the first ones of all curves.
        seconds: of the first look, and of all that a session may take.
        order: places of the groups, the likeliest losses first.
    """

    points: int
    seconds: tuple[float, float]
    order: tuple[int, ...]

    def words(self, minutes: float | None) -> str:
        """One line for a person."""
        least, most = (second / 60 for second in self.seconds)
        about = f"about {_minutes(least)} to {_minutes(most)} minutes, longer on a noisy device"
        until = "" if minutes is None else f"; stops after {minutes:g}"
        return f"{counted(len(self.order), 'width')}, {self.points} points or more: {about}{until}"


def _minutes(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def plan_of(
    width_groups: WidthGroups, starts: Sequence[Sequence[int]], whole_ms: float | None, measuring: Measuring
) -> ExplainPlan:
    """The plan of a model.

    Args:
        width_groups: of the model.
        starts: the widths that are timed first, of each group that can be changed.
        whole_ms: latency of the whole model, of which a block takes its share by MACs; None: not known.
        measuring: how the device is measured.
    """
    model, groups = width_groups.model, width_groups.changeable
    all_macs = max(1, macs_of(model, range(len(model.nodes))))
    call_s = all_macs / (GMACS * 1e9) if whole_ms is None else whole_ms / 1e3
    protocol = measuring.one_process()
    shares = [macs_of(model, group.section.nodes if group.section else ()) / all_macs for group in groups]
    visits = measuring.processes * measuring.rounds
    first_s = sum(
        len(widths) * visits * protocol.visit_s(max(share * call_s, 1e-6))
        for share, widths in zip(shares, starts, strict=True)
    )
    worth = [share * _oddness(group) for share, group in zip(shares, groups, strict=True)]
    order = sorted(range(len(groups)), key=lambda i: -worth[i])
    sets_s = [min(count * set_s(measuring, call_s), SETS_S) for count in _SETS]
    seconds = first_s + sets_s[0], first_s * _MORE * sum(LENGTHS) + sets_s[1]
    return ExplainPlan(sum(map(len, starts)), seconds, tuple(order))


def set_s(measuring: Measuring, call_s: float) -> float:
    """Seconds that it takes to time the whole model at one set of widths, whose call takes `call_s`."""
    return measuring.benchmark_processes * measuring.rounds * measuring.end_to_end().visit_s(call_s)


def _oddness(group: Group) -> float:
    return next((weight for modulus, weight in _ODDNESS if group.width % modulus), _EVEN)


def macs_of(model: Model, nodes: Sequence[int]) -> int:
    """Multiply-accumulates of the convolutions and linear layers among some nodes."""
    total = 0
    for node in (model.nodes[index] for index in nodes):
        weight = model.constants.get(node.input[1]) if node.op_type in LAYERS else None
        made = model.shapes.get(node.output[0])
        if weight is None or made is None or weight.ndim < 2:
            continue
        if node.op_type == "ConvTranspose":  # each pixel that goes in is spread
            made = model.shapes.get(node.input[0], made)
            total += prod(made) * prod(weight.shape[1:])
        elif node.op_type == "Conv":
            total += prod(made) * prod(weight.shape[1:])
        else:
            total += prod(made) * weight.size // made[-1]
    return total
