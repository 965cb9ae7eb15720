"""The latency budgets of a study. Read by the rules at planning time: no heavy imports."""

from collections.abc import Mapping
from typing import Any

from hakd.records.budgets import budget_label
from hakd.records.errors import HakdError


def budgets_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The budgets that `joint` and its like choose for (`choosing.budgets`)."""
    return [dict(entry) for entry in config["choosing"]["budgets"]]


def labels(config: Mapping[str, Any]) -> list[str]:
    """What these budgets are called."""
    return [budget_label(entry) for entry in budgets_of(config)]


def check_budgets(config: Mapping[str, Any], where: str) -> None:
    """Refuse what the schema lets pass.

    Raises:
        HakdError: a duplicate budget.
    """
    named = labels(config)
    if len(set(named)) < len(named):
        raise HakdError("duplicate value", where=where, key="choosing.budgets", remedy="Give each value once")
