"""Why a width is slower than a good one beside it: what the engine runs at both, where it reports that."""

from collections.abc import Mapping, Sequence

from hakd.boards import Board
from hakd.explaining.blocks import block_point
from hakd.explaining.report import GroupReport
from hakd.importing.groups import WidthGroups
from hakd.records.text import counted

_BLOCKED = "com.microsoft.nchwc:"
_REORDERS = ("ReorderInput", "ReorderOutput")
_NO_KERNELS = frozenset(("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
SAME = "the engine runs the same ops in the same layout at both"


def causes(
    board: Board, width_groups: WidthGroups, reports: Sequence[GroupReport]
) -> Mapping[str, tuple[int, str]]:
    """{group: (good width, what is different there)} for the groups that lose time; empty where the engine hides it.

    Raises:
        HakdError: a device that went away.
    """
    device = board.device
    if device.engine != "onnxruntime" or device.transport == "virtual":
        return {}
    pairs = {
        report.group.name: (report.group, better[-1])
        for report in reports
        if report.lost_us and (better := [other.width for other in report.good if other.ratio < 1])
    }
    points = {
        name: [block_point(width_groups, group, width) for width in (group.width, good)]
        for name, (group, good) in pairs.items()
    }
    graphs = board.graphs([point for both in points.values() for point in both])
    found = {}
    for name, (group, good) in pairs.items():
        now, then = (graphs.get(point.key) for point in points[name])
        if now is not None and then is not None:
            found[name] = good, difference(now, then, group.width, good)
    return found


def difference(now: Mapping[str, int], then: Mapping[str, int], width: int, good: int) -> str:
    """How the graph of the present width differs from that of the good one, in words."""
    words = []
    blocked = [sum(count for kind, count in ops.items() if _is_blocked(kind)) for ops in (now, then)]
    if blocked[0] != blocked[1]:
        more = good if blocked[1] > blocked[0] else width
        few, many = sorted(blocked)
        at = f"at {more} {many} of its ops run{'s' if many == 1 else ''} in blocked layout (nchwc)"
        words.append(f"{at}, at the other {few}")
    reorders = [sum(ops.get(_BLOCKED + kind, 0) for kind in _REORDERS) for ops in (now, then)]
    if reorders[0] != reorders[1]:
        words.append(f"{counted(reorders[0], 'reorder')} of the layout at {width}, {reorders[1]} at {good}")
    plain = [{kind: n for kind, n in ops.items() if _is_own_kernel(kind)} for ops in (now, then)]
    kinds = sorted(plain[0].keys() | plain[1].keys())
    others = [kind for kind in kinds if plain[0].get(kind, 0) != plain[1].get(kind, 0)]
    if others:
        counts = (
            f"{kind.rpartition(':')[2]} {plain[0].get(kind, 0)} and {plain[1].get(kind, 0)}"
            for kind in others
        )
        words.append(f"kernels at {width} and at {good}: {', '.join(counts)}")
    return "; ".join(words) or SAME


def _is_blocked(kind: str) -> bool:
    return kind.startswith(_BLOCKED) and kind.removeprefix(_BLOCKED) not in _REORDERS


def _is_own_kernel(kind: str) -> bool:
    return not kind.startswith(_BLOCKED) and kind not in _NO_KERNELS
