"""Weight sharing: k-means in one dimension."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hakd.deep_compression.sharing import assign, cluster, share, tidy, usable_clusters

values = hnp.arrays(
    np.float32,
    st.integers(1, 300),
    elements=st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, 1.0, -2.5]),
)


def error(data: np.ndarray, centroids: np.ndarray) -> float:
    """Squared error of the nearest centroids, by brute force."""
    return float((np.abs(data[:, None].astype(float) - centroids[None]).min(1) ** 2).sum())


@settings(deadline=None)
@given(values, st.integers(1, 40))
def test_centroids_are_a_fixed_point_with_no_empty_cluster(data, clusters):
    centroids = cluster(data, clusters)
    distinct = len(np.unique(data))
    assert centroids.dtype == np.float32
    assert (np.diff(centroids) > 0).all()
    if distinct <= clusters:
        assert centroids.tolist() == np.unique(data).tolist()
        return
    assert 1 <= len(centroids) <= clusters
    assert data.min() <= centroids[0] and centroids[-1] <= data.max()
    numbers = assign(data, centroids)
    near = np.abs(data[:, None].astype(float) - centroids[None].astype(float))
    chosen = near[np.arange(len(data)), numbers]
    assert (chosen <= near.min(1) + 1e-9).all()


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(2, 60), elements=st.integers(-1000, 1000).map(float), unique=True))
def test_two_clusters_are_no_worse_than_lloyd_s_from_the_ends(data):
    """Against a plain loop from the same linear start."""
    low, high = float(data.min()), float(data.max())
    for _ in range(300):
        left = data[np.abs(data - low) < np.abs(data - high)]
        right = data[np.abs(data - low) >= np.abs(data - high)]
        low, high = float(left.mean(dtype=float)), float(right.mean(dtype=float))
    plain = error(data, np.array([low, high]))
    assert error(data, cluster(data, 2)) <= plain * (1 + 1e-4) + 1e-6


def test_linear_start_is_the_paper_s():
    """No iteration: one update from clusters whose borders lie halfway between evenly spaced points."""
    data = np.linspace(0, 1, 1001, dtype=np.float32)
    expected = [part.mean() for part in (data[:125], data[125:375], data[375:625], data[625:875], data[875:])]
    assert np.allclose(cluster(data, 5, iterations=1), expected, atol=2e-3)


def test_empty_clusters_are_used_up():
    """Two far lumps and nothing between: most of the linear start is empty."""
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(-100, 0.1, 500), rng.normal(100, 0.1, 500), [1e4]]).astype(np.float32)
    centroids = cluster(data, 31)
    assert len(centroids) == 31
    assert error(data, centroids) < 0.02 * error(data, np.array([-100.0, 100.0, 1e4]))
    assert (np.bincount(assign(data, centroids), minlength=31) > 0).all()


def test_more_clusters_are_never_much_worse():
    data = np.random.default_rng(1).standard_normal(20000).astype(np.float32)
    errors = [error(data, cluster(data, clusters)) for clusters in (1, 3, 7, 15, 31, 63)]
    assert all(b < 0.5 * a for a, b in pairwise(errors))
    assert errors[0] == pytest.approx(20000 * data.astype(float).var(), rel=1e-6)
    best, even = (
        3**0.5 * np.pi / 2 / 63**2,
        (np.ptp(data) / 62) ** 2 / 12,
    )  # Panter and Dite; the linear start
    assert 0.9 * best < errors[-1] / 20000 < even


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="NaN"):
        cluster(np.array([1.0, bad]), 3)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, (5, 4, 3, 3), elements=st.floats(-1, 1, width=32)), st.integers(1, 8), st.data()
)
def test_share(weights, bits, data):
    kept = data.draw(hnp.arrays(bool, weights.shape))
    codes, codebook = share(weights, kept, bits)
    assert (codes > 0).tolist() == kept.tolist()
    assert codebook[0] == 0 and (np.diff(codebook[1:]) > 0).all()
    assert len(codebook) <= 2**bits
    assert len(np.unique(codes[kept])) == len(codebook) - 1  # none unused
    if kept.any() and len(np.unique(weights[kept])) < 2**bits:
        assert np.array_equal(codebook[codes][kept], weights[kept])


def test_usable_clusters():
    assert usable_clusters(10**6, 8) == 255 and usable_clusters(10**6, 5) == 31
    assert usable_clusters(100, 8) == 100 and usable_clusters(100, 8, members=4) == 25
    assert usable_clusters(1, 8, members=4) == 1


def test_tidy_keeps_the_weights():
    codes = np.array([[0, 3, 4, 1], [2, 2, 0, 3]], np.uint16)
    codebook = np.array([0, 7, -1, 7, 0, 55], np.float32)  # out of order, doubled, unused, a centroid at zero
    tidied, ascending = tidy(codes, codebook)
    assert ascending.tolist() == [0, -1, 0, 7]
    assert np.array_equal(ascending[tidied], codebook[codes])
    assert ((tidied == 0) == (codes == 0)).all()
