"""The correction of predictions: a known bias is found, chance is not taken for one, nothing predicts itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.records.errors import HakdError
from hakd.staircase.correction import correct, correct_left_out, qualities, quality
from hakd.staircase.predict import predict_left_out

networks = st.lists(st.tuples(st.floats(0.05, 5), st.floats(0.7, 1.3)), min_size=2, max_size=15)


def times(rows) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured, from predicted latencies and factors."""
    predicted, factors = map(np.array, zip(*rows, strict=True))
    return predicted, predicted * factors


@given(st.floats(0.5, 1.5).filter(lambda c: abs(c - 1) > 1e-6), st.lists(st.floats(0.05, 5), min_size=6))
def test_a_known_bias_is_found_and_undone(factor, predicted):
    measured = [factor * ms for ms in predicted]
    found = correct(predicted, measured)
    assert found.biased and found.factor == pytest.approx(factor) and found.ratio == pytest.approx(1 / factor)
    if len(predicted) > 6:  # without one, six are left to tell it by
        assert correct_left_out(predicted, measured) == pytest.approx(measured)


@given(networks)
def test_no_network_helps_to_predict_itself(rows):
    predicted, measured = times(rows)
    found = correct_left_out(predicted, measured)
    single = predict_left_out(predicted, measured)
    for i in range(len(rows)):
        other = measured.copy()
        other[i] *= 3
        assert correct_left_out(predicted, other)[i] == found[i]
        assert predict_left_out(predicted, other)[i] == single[i]


@given(networks)
def test_nor_do_networks_of_its_group(rows):
    predicted, measured = times(rows)
    groups = ["ab"[i % 2] for i in range(len(rows))]
    other = np.where(np.array(groups) == "a", 3 * measured, measured)
    found, changed = (correct_left_out(predicted, ms, groups) for ms in (measured, other))
    own = np.array(groups) == "a"
    assert (found[own] == changed[own]).all()
    assert found[own] == pytest.approx(predicted[own] * correct(predicted[~own], measured[~own]).factor)


@given(networks)
def test_the_interval_holds_the_median_and_decides(rows):
    predicted, measured = times(rows)
    found = correct(predicted, measured)
    if len(rows) < 6:
        assert found.low is None and found.high is None and not found.biased
    else:
        assert found.low <= found.ratio <= found.high
        assert found.biased == (not found.low <= 1 <= found.high)
    assert found.biased or found.factor == 1


def test_chance_is_rarely_taken_for_a_bias():
    rng = np.random.default_rng(0)
    false = sum(correct(np.ones(20), np.exp(rng.normal(0, 0.03, 20))).biased for _ in range(1000))
    assert 20 < false < 60  # 4.1 % by the binomial distribution


def test_shares_count_networks_of_at_least_a_fifth_of_a_millisecond():
    measured = np.array([0.1, 0.2, 0.4, 0.5, 1.0])
    predicted = measured * [2.0, 1.04, 0.93, 1.2, 1.0]
    made = qualities(predicted, measured)
    assert made["all"].networks == 5 and made["all"].highest == pytest.approx(2)
    large = made["large"]
    assert (large.networks, large.within_5, large.within_10) == (4, 0.5, 0.75)
    assert (large.lowest, large.median) == (pytest.approx(0.93), pytest.approx(1.02))
    assert quality([0.1], [0.1], 0.2) is None


@pytest.mark.parametrize(
    ("predicted", "measured", "groups", "words"),
    [
        ([], [], None, "as many sums"),
        ([1.0], [0.0], None, "not positive"),
        ([1.0, 2.0], [1.0, 2.0], ["a"], "one group is needed"),
    ],
)
def test_bad_input_is_one_clear_error(predicted, measured, groups, words):
    with pytest.raises(HakdError, match=words):
        correct_left_out(predicted, measured, groups)
