"""Weight sharing: one-dimensional k-means per layer (Han et al., section 3)."""

import numpy as np

MAX_ITERATIONS = 300


def cluster(values: np.ndarray, clusters: int, iterations: int = MAX_ITERATIONS) -> np.ndarray:
    """Centroids of `values` by Lloyd's iterations from a linear start over [min, max].

    In one dimension a cluster is a run of the sorted values, so an iteration is one `searchsorted` of the
    midpoints between centroids and a difference of prefix sums. The linear start (which the paper found best:
    it keeps the few large weights that matter) leaves clusters empty, above all in the hole that pruning
    makes around zero; each empty one halves the cluster with the largest squared error.

    Args:
        values: weights, any shape, finite.
        clusters: how many centroids at most.

    Returns:
        float32, ascending, distinct, at most `clusters`; the values themselves where those are no more than
        that.
    """
    if clusters < 1:
        raise ValueError("weight sharing needs at least one cluster")
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    if not np.isfinite(ordered).all():
        raise ValueError("weights to share hold NaN or infinity")
    distinct = np.unique(ordered)
    if len(distinct) <= clusters:
        return np.unique(distinct.astype(np.float32))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    centroids = np.linspace(ordered[0], ordered[-1], clusters)
    edges: np.ndarray | None = None
    for _ in range(iterations):
        before, edges = edges, _edges(ordered, centroids)
        if before is not None and np.array_equal(before, edges):
            break
        centroids = _update(ordered, sums, squares, edges, clusters)
    return np.unique(centroids.astype(np.float32))


def _edges(ordered: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Where each cluster begins and ends in the sorted values, shape (clusters + 1,)."""
    inner = np.searchsorted(ordered, (centroids[:-1] + centroids[1:]) / 2)
    return np.concatenate([[0], inner, [len(ordered)]])


def _update(
    ordered: np.ndarray, sums: np.ndarray, squares: np.ndarray, edges: np.ndarray, clusters: int
) -> np.ndarray:
    """Means of the clusters, ascending; empty ones halve those with the largest squared error."""
    edges = np.unique(edges)
    while len(edges) - 1 < clusters:
        counts = np.diff(edges)
        errors = np.diff(squares[edges]) - np.diff(sums[edges]) ** 2 / counts
        errors[ordered[edges[:-1]] == ordered[edges[1:] - 1]] = -np.inf
        wanted = clusters - len(counts)
        worst = np.argsort(-errors, kind="stable")[: min(wanted, max(1, len(counts) // 8))]
        worst = worst[np.isfinite(errors[worst])]
        if not len(worst):
            break
        means = np.diff(sums[edges])[worst] / counts[worst]
        cuts = np.searchsorted(ordered, means, side="right")
        cuts = np.clip(cuts, edges[worst] + 1, edges[worst + 1] - 1)
        edges = np.unique(np.concatenate([edges, cuts]))
    return np.diff(sums[edges]) / np.diff(edges)


def assign(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the nearest centroid for each value, in the shape of `values`; `centroids` ascend."""
    wide = np.asarray(centroids, np.float64)
    return np.searchsorted((wide[:-1] + wide[1:]) / 2, values)


def usable_clusters(survivors: int, bits: int, members: int = 1) -> int:
    """Clusters of a layer: 2 ** bits less the filler's code, fewer where `members` weights a cluster run out.

    A codebook entry costs 32 bits, as much as four codes of 8 bits: a small layer is smaller with fewer
    clusters than the paper's 256. `members` = 1 is the paper.
    """
    return max(1, min((1 << bits) - 1, survivors // members))


def share(
    weights: np.ndarray, kept: np.ndarray, bits: int, members: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Share the weights of a layer.

    Args:
        weights: float32, any shape.
        kept: bool, same shape: which weights survived pruning; the others get code 0.
        bits: bits of a code, 1 to 12.
        members: weights a cluster should have at least, on average; see `usable_clusters`.

    Returns:
        Codes (uint16, shape of `weights`) and the codebook (float32, ascending after `codebook[0]` = 0.0).
    """
    codes = np.zeros(weights.shape, np.uint16)
    survivors = weights[kept]
    if not survivors.size:
        return codes, np.zeros(1, np.float32)
    centroids = cluster(survivors, usable_clusters(survivors.size, bits, members))
    codes[kept] = assign(survivors, centroids) + 1
    return tidy(codes, np.concatenate([np.zeros(1, np.float32), centroids]))


def tidy(codes: np.ndarray, codebook: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same weights with an ascending codebook, each value once and none unused; code 0 stays."""
    used = np.flatnonzero(np.bincount(codes.ravel(), minlength=len(codebook))[1:]) + 1
    values, place = np.unique(codebook[used], return_inverse=True)
    number = np.zeros(len(codebook), np.uint16)
    number[used] = place + 1
    return number[codes], np.concatenate([np.zeros(1, np.float32), values.astype(np.float32)])
