"""Whether the threads of a device have a core each, from what the board reports when a session opens."""

from collections.abc import Mapping
from typing import Any

QUOTA_REMEDY = (
    "Start the container without a limit of CPU time (Docker: no --cpus, but --cpuset-cpus; Kubernetes: no CPU limit;"
    " systemd: no CPUQuota)"
)


def short_quota(context: Mapping[str, Any], threads: int) -> str | None:
    """In words, a limit of CPU time that stops the threads during bursts; None where there is none.

    A control group that has used up its share of a period (100 ms) is stopped for the rest of it.

    Args:
        context: of an open session (`Board.context`).
        threads: of the device.
    """
    quota, cpus = _number(context, "cpu_quota"), _number(context, "cpus")
    if quota is None or quota > threads or (cpus is not None and quota >= cpus):
        return None
    return f"{quota_words(quota, threads)}: the kernel stops them during bursts"


def quota_words(quota: float, threads: int) -> str:
    """A limit of CPU time beside what it has to do for."""
    return f"{quota:.3g} CPU{'s' * (quota != 1)} for {threads} thread{'s' * (threads > 1)} and the agent"


def shared_cores(context: Mapping[str, Any], threads: int) -> str | None:
    """In words, CPUs of the threads that are one core (hyper-threads); None where each has its own, or none is known.

    Args:
        context: of an open session.
        threads: of the device.
    """
    cores, affinity = _number(context, "cores"), context.get("affinity")
    if cores is None or cores >= threads:
        return None
    numbers = ", ".join(map(str, affinity)) if isinstance(affinity, list) else "?"
    place = f"{threads} threads on {cores:.0f} core{'s' * (cores != 1)}"
    return f"{place}: CPUs {numbers} include hyper-threads of one core"


def _number(context: Mapping[str, Any], key: str) -> float | None:
    value = context.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
