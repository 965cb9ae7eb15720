"""What a budget is called in names of candidates and in columns. No heavy imports: the rules read it."""

from collections.abc import Mapping
from typing import Any


def budget_label(settings: Mapping[str, Any]) -> str:
    """`round16`, `2.5ms` or `speedup2`, of an entry of `choosing.budgets`."""
    if settings.get("latency_ms"):
        return f"{float(settings['latency_ms']):g}ms"
    if settings.get("speedup"):
        return f"speedup{float(settings['speedup']):g}"
    return str(settings["like"])


def choice_key(method: str, label: str | None, several: bool) -> str:
    """What a choice of widths is called within a (network, level, device): `joint`, or `joint@round16` if a study has
    several budgets. `label` is None for methods without a budget.
    """
    return f"{method}@{label}" if several and label is not None else method
