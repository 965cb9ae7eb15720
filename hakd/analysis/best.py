"""The most accurate configuration that a device runs within a latency, of a study's summary.

Accuracy is that on the validation split, averaged over seeds. The test split has no part in the choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hakd.analysis.series import chosen_there, series_name, several_budgets
from hakd.analysis.summary import CONFIGURATION
from hakd.records.errors import HakdError
from hakd.records.text import counted, did_you_mean

_DIGITS = 12  # equal accuracies are equal, in whatever order their seeds are summed


@dataclass(frozen=True)
class Standing:
    """One configuration on one device: networks that differ in their seeds.

    Attributes:
        name: network, series and level.
        networks: their rows of the summary.
        val_accuracy: on the validation split, 0 to 1, mean over the networks.
        latency_ms: median over the networks.
        latency_high_ms: the largest upper end of their 95 % intervals; infinite where one has no interval.
    """

    name: str
    networks: pd.DataFrame
    val_accuracy: float
    latency_ms: float
    latency_high_ms: float

    @property
    def words(self) -> str:
        """Its figures."""
        mean = " (mean of {})".format(counted(len(self.networks), "seed")) if len(self.networks) > 1 else ""
        known = math.isfinite(self.latency_high_ms)
        end = f"at most {self.latency_high_ms:.4g} ms" if known else "no interval"
        return f"{self.val_accuracy:.2%} in validation{mean}, {self.latency_ms:.4g} ms ({end})"


@dataclass(frozen=True)
class Choice:
    """What was picked, and from what.

    Attributes:
        picked: the configuration; of several that share their files the first.
        network: its row that is most accurate in validation.
        alike: names of other configurations that have the same files.
        others: further configurations within the limit, the best first.
        excluded: those that the limit excludes, the most accurate first.
    """

    picked: Standing
    network: pd.Series
    alike: Sequence[str]
    others: Sequence[Standing]
    excluded: Sequence[Standing]


def choose(
    frame: pd.DataFrame,
    device: str,
    max_latency_ms: float,
    min_accuracy: float | None = None,
    network: str | None = None,
) -> Choice:
    """The configuration with the highest mean validation accuracy whose latency is at most a limit.

    A configuration counts if the upper end of the latency's 95 % interval is within the limit for each of its seeds, so
    whichever is taken is. It must have been chosen for the device, for a fleet that the device is in, or for none.

    Args:
        frame: a `summary` table.
        device: the one it was timed on.
        max_latency_ms: the limit.
        min_accuracy: lowest mean validation accuracy, 0 to 1.
        network: this network's configurations only.

    Raises:
        HakdError: nothing of that device or network, or no configuration fits; the error names the nearest.
    """
    ranked = _standings(_rows(frame, device, network))
    fitting = [one for one in ranked if one.latency_high_ms <= max_latency_ms]
    if not fitting:
        _refuse_latency(ranked, device, max_latency_ms)
    if min_accuracy is not None and fitting[0].val_accuracy < min_accuracy:
        _refuse_accuracy(fitting[0], ranked, device, max_latency_ms, min_accuracy)
    picked = fitting[0]
    files = set(picked.networks["onnx_path"])
    same = [one for one in fitting[1:] if set(one.networks["onnx_path"]) == files]
    best = picked.networks.sort_values(
        ["val_accuracy", "latency_high_ms", "candidate"], ascending=[False, True, True]
    )
    return Choice(
        picked,
        best.iloc[0],
        [one.name for one in same],
        [one for one in fitting[1:] if one not in same],
        [one for one in ranked if one.latency_high_ms > max_latency_ms],
    )


def reasons(choice: Choice, device: str, max_latency_ms: float) -> list[str]:
    """Why it was picked, in lines: the pick, the runner-up, what the limit excluded, and the network that is copied."""
    picked, network = choice.picked, choice.network
    within = 1 + len(choice.alike) + len(choice.others)
    total = counted(within + len(choice.excluded), "configuration")
    about = f"{network['engine']}, {counted(int(network['threads']), 'thread')}"
    lines = [f"{device} ({about}): {within} of {total} within {max_latency_ms:g} ms"]
    lines.append(f"pick: {picked.name}: {picked.words}")
    lines += [f"  the same files: {', '.join(choice.alike)}"] if choice.alike else []
    if choice.others:
        second = choice.others[0]
        behind = 100 * (picked.val_accuracy - second.val_accuracy)
        gap = f"{behind:.2f} points behind" if behind else "equally accurate, no faster"
        lines.append(f"runner-up, {gap}: {second.name}: {second.words}")
    if choice.excluded:
        first = choice.excluded[0]
        lines.append(
            f"excluded by the limit: {len(choice.excluded)}; the most accurate: {first.name}: {first.words}"
        )
    figures = f"{network['val_accuracy']:.2%} in validation, {network['accuracy']:.2%} in the test"
    return [*lines, f"copied: seed {network['seed']}, the best of the pick in validation: {figures}"]


def _rows(frame: pd.DataFrame, device: str, network: str | None) -> pd.DataFrame:
    """The rows that a choice may take."""
    timed = frame[frame["device"] == device]
    timed = timed[chosen_there(timed)]
    if timed.empty:
        raise HakdError(
            "nothing that was chosen for it was timed on it",
            where=f"device {device}",
            remedy=did_you_mean(device, frame["device"]),
        )
    if network is not None and not (timed["network"] == network).any():
        remedy = did_you_mean(network, timed["network"])
        raise HakdError(
            f"unknown network {network!r}", where=f"device {device}", key="--network", remedy=remedy
        )
    return timed if network is None else timed[timed["network"] == network]


def _standings(rows: pd.DataFrame) -> list[Standing]:
    """The configurations, the most accurate first; of equal ones the faster one."""
    budgets = several_budgets(rows)
    found = []
    for _, group in rows.groupby(list(CONFIGURATION), dropna=False, sort=False):
        first = group.iloc[0]
        series = series_name(first["method"], first["target_device"], budgets[group.index[0]])
        high = group["latency_high_ms"].fillna(math.inf).max()
        found.append(
            Standing(
                f"{first['network']} {series}/{first['recipe']}/{first['loss']} at level {first['level']:g}",
                group,
                round(float(group["val_accuracy"].mean()), _DIGITS),
                float(group["latency_ms"].median()),
                float(high),
            )
        )
    return sorted(found, key=lambda one: (-one.val_accuracy, one.latency_high_ms, one.name))


def _refuse_latency(ranked: Sequence[Standing], device: str, limit_ms: float) -> None:
    nearest = min(ranked, key=lambda one: (one.latency_high_ms, one.latency_ms))
    if math.isinf(nearest.latency_high_ms):
        remedy = "Raise `benchmark_processes` of the device, and run the study again"
    else:
        remedy = f"Raise it to {_above(nearest.latency_high_ms)}, or add a smaller level to the study"
    raise HakdError(
        f"no configuration is within {limit_ms:g} ms; the nearest is {nearest.name}: {nearest.words}",
        where=f"device {device}",
        key="--max-latency-ms",
        remedy=remedy,
    )


def _refuse_accuracy(
    nearest: Standing, ranked: Sequence[Standing], device: str, limit_ms: float, least: float
) -> None:
    accurate = [one.latency_high_ms for one in ranked if one.val_accuracy >= least]
    slower = min(accurate, default=math.inf)
    more = f", or raise --max-latency-ms to {_above(slower)}" if math.isfinite(slower) else ""
    raise HakdError(
        f"no configuration within {limit_ms:g} ms reaches {least:.2%} in validation; "
        f"the nearest is {nearest.name}: {nearest.words}",
        where=f"device {device}",
        key="--min-accuracy",
        remedy=f"Lower it to {math.floor(nearest.val_accuracy * 1e4) / 1e4:g}{more}",
    )


def _above(latency_ms: float) -> str:
    """A latency rounded up to four digits, so that it is enough as a limit."""
    step = 10.0 ** (math.floor(math.log10(latency_ms)) - 3)
    return f"{math.ceil(latency_ms / step) * step:.6g}"
