"""Who is more accurate at equal measured latency, by how much, with intervals.

Two methods hardly ever give networks of equal latency, so each method's accuracy is read off the straight
lines between its own measured points (levels), never beyond their ends. A difference is then a weighted sum
of accuracies of trained networks, the same for every seed and every test image, which is what makes paired
intervals over both possible.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hakd.records.errors import HakdError

_SPEC = ("method", "recipe", "loss")
NEEDED = (
    "network",
    "device",
    "target_device",
    "level",
    "seed",
    "candidate",
    "latency_ms",
    "accuracy",
    *_SPEC,
)


@dataclass(frozen=True)
class _Method:
    """One method's networks on one device: `accuracy` by seed (rows) and level (columns), latency by
    level."""

    latency_ms: pd.Series
    accuracy: pd.DataFrame
    candidate: pd.DataFrame


def compare(
    frame: pd.DataFrame,
    a: str,
    b: str,
    *,
    tolerance: float = 0.02,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Accuracy of `a` minus accuracy of `b` at equal measured latency, by network and device.

    Args:
        frame: a `summary` table, a row per candidate and device. Networks that were chosen for another device
            than the one they were timed on are left out; those of a fleet are timed on its devices only.
        a: a method, `method/recipe` or `method/recipe/loss`, e.g. `hakd/distilled/at+logits` or, of a fleet,
            `fleet pis/distilled/logits`; as much of it as names one.
        b: the rival, likewise.
        tolerance: latencies within this fraction of each other count as equal where lines cannot be read off.
        predictions: a `predictions` table; with it come intervals over test images.

    Returns:
        A row for every measured latency of `a` or `b` at which both have an accuracy (levels no faster than a
        larger level of their method are left out), and one `scope` "mean" row over them for each network and
        device: `network, device, scope` (at | mean)`, latency_ms, level_a, level_b` (the level whose network
        was measured there; NaN: read off a line)`, accuracy_a, accuracy_b, difference, seeds, low_seeds,
        high_seeds` (95 %, paired over seeds) and, with predictions, `low_images, high_images` (these trained
        networks, other test images) and `low, high` (other seeds and other images: variances added,
        Satterthwaite's degrees of freedom). Latency is the median over seeds; its noise is not in the
        intervals. Empty when the methods share no latency.

    Raises:
        HakdError: a column missing, a method that is absent or names several series.
    """
    _need(frame, NEEDED)
    if predictions is not None:
        _need(predictions, ("candidate", "image", "label", "prediction"))
    fleets = frame["method"] == "fleet"
    own = frame["target_device"].isna() | (frame["target_device"] == frame["device"]) | fleets
    names = frame["method"].where(~fleets, "fleet " + frame["target_device"].astype("string").fillna(""))
    frame = frame.assign(method=names)[own]
    chosen = [_select(frame, spec) for spec in (a, b)]
    rights = None if predictions is None else _rights(predictions)
    rows: list[dict[str, Any]] = []
    places = chosen[0][["network", "device"]].drop_duplicates().itertuples(index=False)
    for network, device in places:
        parts = [part[(part["network"] == network) & (part["device"] == device)] for part in chosen]
        if all(len(part) for part in parts):
            first, second = (_method(part, tolerance) for part in parts)
            found = _differences(first, second, tolerance, rights)
            rows += [{"network": network, "device": device, **row} for row in found]
    columns = ["network", "device", "scope", "latency_ms", "level_a", "level_b", "accuracy_a", "accuracy_b"]
    columns += ["difference", "seeds", "low_seeds", "high_seeds"]
    columns += ["low_images", "high_images", "low", "high"] if rights is not None else []
    return pd.DataFrame(rows, columns=columns)


def _need(frame: pd.DataFrame, names: Iterable[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise HakdError("column missing", where="comparison", key=name)


def _select(frame: pd.DataFrame, spec: str) -> pd.DataFrame:
    """The rows a specification names; it must name one series."""
    parts = spec.split("/")
    if not 1 <= len(parts) <= len(_SPEC):
        raise HakdError("not method[/recipe[/loss]]", where="comparison", key=spec)
    chosen = frame
    for name, part in zip(_SPEC, parts, strict=False):
        chosen = chosen[chosen[name] == part]
    series = chosen[list(_SPEC)].drop_duplicates()
    known = ", ".join(sorted({"/".join(row) for row in frame[list(_SPEC)].itertuples(index=False)}))
    if series.empty:
        raise HakdError("no such candidates", where="comparison", key=spec, remedy=f"There are: {known}")
    if len(series) > 1:
        raise HakdError("names several series", where="comparison", key=spec, remedy=f"Name one of: {known}")
    return chosen


def _method(part: pd.DataFrame, tolerance: float) -> _Method:
    """A method's levels by rising latency, without those that are no faster than a larger one.

    Odd widths can make a smaller network as slow as a larger one; nobody would take it, and a line through
    both would be all but vertical. Levels are left out by latency alone: leaving out by accuracy would
    flatter.
    """
    if part.duplicated(["level", "seed"]).any():
        row = part[part.duplicated(["level", "seed"])].iloc[0]
        raise HakdError("two candidates of one level and seed", where="comparison", key=row["candidate"])
    latency = part.groupby("level")["latency_ms"].median().sort_index(ascending=False)
    kept: list[float] = []
    for level, value in latency.items():
        if not kept or value < latency[kept[-1]] * (1 - tolerance):
            kept.append(level)
    latency = latency[kept[::-1]]
    table = part.pivot(index="seed", columns="level", values=["accuracy", "candidate"])
    return _Method(latency, table["accuracy"][latency.index].astype(float), table["candidate"][latency.index])


def _weights(method: _Method, latency_ms: float, tolerance: float) -> np.ndarray | None:
    """Weights of the levels whose weighted accuracy is the method's at a latency; None outside its range."""
    x = method.latency_ms.to_numpy(dtype=float)
    weights = np.zeros(len(x))
    exact = np.flatnonzero(x == latency_ms)
    if len(exact):
        weights[exact] = 1
    elif x[0] < latency_ms < x[-1]:
        right = int(np.searchsorted(x, latency_ms))
        share = (latency_ms - x[right - 1]) / (x[right] - x[right - 1])
        weights[right - 1], weights[right] = 1 - share, share
    else:
        nearest = int(np.abs(x - latency_ms).argmin())
        if abs(x[nearest] - latency_ms) > tolerance * latency_ms:
            return None
        weights[nearest] = 1
    return weights


def _differences(
    a: _Method, b: _Method, tolerance: float, rights: Mapping[str, np.ndarray] | None
) -> list[dict[str, Any]]:
    places = []
    for latency in sorted({*a.latency_ms, *b.latency_ms}):
        weights = _weights(a, latency, tolerance), _weights(b, latency, tolerance)
        if weights[0] is not None and weights[1] is not None:
            places.append((latency, weights[0], weights[1]))
    rows = []
    for latency, wa, wb in places:
        row = _difference(a, b, wa, wb, rights)
        if row is not None:
            levels = {"level_a": _measured(a, latency), "level_b": _measured(b, latency)}
            rows.append({"scope": "at", "latency_ms": latency, **levels, **row})
    if rows:
        wa, wb = (np.mean([place[i] for place in places], axis=0) for i in (1, 2))
        mean = _difference(a, b, wa, wb, rights)
        if mean is not None:
            middle = float(np.mean([place[0] for place in places]))
            nowhere = {"level_a": float("nan"), "level_b": float("nan")}
            rows.append({"scope": "mean", "latency_ms": middle, **nowhere, **mean})
    return rows


def _measured(method: _Method, latency_ms: float) -> float:
    levels = method.latency_ms.index[method.latency_ms == latency_ms]
    return float(levels[0]) if len(levels) else float("nan")


def _difference(
    a: _Method, b: _Method, wa: np.ndarray, wb: np.ndarray, rights: Mapping[str, np.ndarray] | None
) -> dict[str, Any] | None:
    """One weighted difference with its intervals; None when no seed has all the networks it needs."""
    sides = []
    for method, weights in ((a, wa), (b, wb)):
        used = weights > 0
        sides.append((method.accuracy.loc[:, used].dropna(), method.candidate.loc[:, used], weights[used]))
    seeds = sides[0][0].index.intersection(sides[1][0].index)
    if seeds.empty:
        return None
    means = [accuracy.loc[seeds].to_numpy() @ weights for accuracy, _, weights in sides]
    paired = means[0] - means[1]
    low, high = student_interval(paired)
    row = {"accuracy_a": means[0].mean(), "accuracy_b": means[1].mean(), "difference": paired.mean()}
    row |= {"seeds": len(seeds), "low_seeds": low, "high_seeds": high}
    if rights is not None:
        by_image = np.mean(
            [
                _by_image(sides[0][1].loc[seed], sides[0][2], rights)
                - _by_image(sides[1][1].loc[seed], sides[1][2], rights)
                for seed in seeds
            ],
            axis=0,
        )
        row |= _image_intervals(paired, by_image)
    return row


def _by_image(candidates: Iterable[str], weights: np.ndarray, rights: Mapping[str, np.ndarray]) -> np.ndarray:
    total: np.ndarray | float = 0.0
    for name, weight in zip(candidates, weights, strict=True):
        if name not in rights:
            raise HakdError("no predictions of this candidate", where="comparison", key=name)
        total = total + weight * rights[name]
    return np.asarray(total)


def _image_intervals(by_seed: np.ndarray, by_image: np.ndarray) -> dict[str, float]:
    """95 % intervals over images (seeds fixed), and over images and seeds."""
    centre = float(by_seed.mean())
    image_variance = by_image.var(ddof=1) / len(by_image) if len(by_image) > 1 else float("nan")
    image_half = stats.norm.ppf(0.975) * np.sqrt(image_variance)
    both = float("nan")
    if len(by_seed) > 1:
        seed_variance = by_seed.var(ddof=1) / len(by_seed)
        total = seed_variance + image_variance
        parts = seed_variance**2 / (len(by_seed) - 1) + image_variance**2 / (len(by_image) - 1)
        both = stats.t.ppf(0.975, total**2 / parts) * np.sqrt(total) if parts > 0 else 0.0
    return {
        "low_images": centre - image_half,
        "high_images": centre + image_half,
        "low": centre - both,
        "high": centre + both,
    }


def _rights(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Whether each prediction is right, by candidate, in the order of the images; all must be on the same ones."""
    ordered = predictions.sort_values("image", kind="stable")
    right = (ordered["label"] == ordered["prediction"]).to_numpy(dtype=float)
    images = ordered["image"].to_numpy()
    found: dict[str, np.ndarray] = {}
    first: np.ndarray | None = None
    for name, places in ordered.groupby("candidate", observed=True).indices.items():
        first = images[places] if first is None else first
        if not np.array_equal(images[places], first):
            raise HakdError("scored on other test images than its rivals", where="comparison", key=name)
        found[str(name)] = right[places]
    return found


def student_interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float]:
    """Ends of Student's t interval of the mean; NaN with fewer than two values."""
    sample = np.asarray(list(values), dtype=float)
    if len(sample) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.5 + confidence / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)
