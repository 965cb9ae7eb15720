"""Contrasts: intervals against known truths and real resampling, Holm, originals, search seeds, fronts."""

import importlib.util
import re

import numpy as np
import pandas as pd
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks import coverage
from hakd.analysis.bootstrap import Repeats, replicates
from hakd.analysis.comparison import compare
from hakd.analysis.contrasts import COLUMNS, contrasts, holm
from hakd.analysis.fronts import COLUMNS as FRONT_COLUMNS
from hakd.analysis.fronts import fronts
from hakd.analysis.scores import Scores, read_scores
from hakd.analysis.spread import Spread, crossed_spread, images_spread, seeds_spread
from hakd.analysis.summary import aggregate
from hakd.plots.contrasts import contrasts_figure
from hakd.records.errors import HakdError
from hakd.records.tables import write_table
from tests.unit.table_rows import SUMMARY_ROW

PAIR = [{"a": "hakd", "b": "fisher"}]


def study(right: dict[str, np.ndarray], images: int, **columns) -> tuple[pd.DataFrame, Scores]:
    """A simulated study of `benchmarks.coverage` as a summary and its scores: (levels, units, trainings, originals)."""
    rows, scores = [], {}
    for method, levels in right.items():
        for level, latency, runs in zip((0.5, 0.25), coverage.LATENCY_MS[method], levels, strict=True):
            for unit, trainings in enumerate(runs):
                for training, hits in enumerate(trainings):
                    name = f"{method}/{level}/{unit}/{training}"
                    scores[name] = hits
                    rows.append(
                        {
                            "network": "n", "device": "pi", "target_device": None, "level": level,
                            "seed": training if len(trainings) > 1 else unit,
                            "search_seed": unit if len(trainings) > 1 else None,
                            "candidate": name, "latency_ms": latency, "method": method, "recipe": "tuned",
                            "loss": "ce", "accuracy": hits.sum() / hits.size / images, **columns,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows), Scores(scores, np.full(hits.size, images))


def simulated(scenario: coverage.Scenario, seed: int = 0) -> tuple[dict[str, np.ndarray], float]:
    return coverage.simulate(scenario, np.random.default_rng(seed))


SMALL = coverage.Scenario(3, 0.12, 60, 5)
CROSSED = coverage.Scenario(3, 0.1, 60, 5, trainings=2, search_sd=0.1)


@pytest.mark.parametrize("scenario", [SMALL, CROSSED], ids=["seeds", "search seeds"])
def test_a_contrast_has_the_interval_whose_coverage_is_measured(scenario):
    right, truth = simulated(scenario)
    frame, scores = study(right, scenario.images)
    found = contrasts(frame.sample(frac=1, random_state=0), scores, PAIR)
    assert list(found.columns) == list(COLUMNS)
    assert found["scope"].tolist() == ["mean", "at", "at"] and found["latency_ms"][1:].tolist() == [0.7, 1.0]
    mean = found.iloc[0]
    difference = coverage.by_unit(right)
    spread = crossed_spread([difference], scores.sizes)
    assert mean["difference"] == pytest.approx(difference.sum(axis=1).mean() / scores.sizes.sum())
    half = spread.half_width()
    assert mean[["low", "high"]].tolist() == pytest.approx(
        [mean["difference"] - half, mean["difference"] + half]
    )
    assert mean["p_value"] == mean["p_holm"] == pytest.approx(spread.p_value(mean["difference"]))
    assert mean["seeds"] == 3 and mean["detectable"] == mean["detectable_holm"] > half
    assert (mean["p_value"] < 0.05) == (not mean["low"] <= 0 <= mean["high"])
    assert abs(mean["difference"] - truth) < 0.1
    back = contrasts(frame, scores, [{"a": "fisher", "b": "hakd"}]).iloc[0]
    assert back["difference"] == pytest.approx(-mean["difference"]) and back["high"] == pytest.approx(
        -mean["low"]
    )


@pytest.mark.parametrize(
    "scenario",
    [
        coverage.Scenario(3, 0.02, 40, 5),
        coverage.Scenario(3, 0.4, 150),
        coverage.Scenario(5, 0.12, 40, 5),
        coverage.Scenario(3, 0.1, 40, 5, trainings=2, search_sd=0.2),
    ],
    ids=lambda scenario: scenario.name,
)
def test_intervals_hold_the_truth_in_most_studies(scenario):
    """The bounds are loose: `python -m benchmarks.coverage` measures it."""
    found = coverage.coverage(scenario, 150)
    assert 0.895 <= found["held"] <= 0.995
    if found["seeds"] > 0.9 and scenario.seeds == 3:
        assert found["naive"] < found["held"] - 0.04


def test_the_closed_form_is_what_resampling_gives():
    """Seeds alone, originals alone: variances of 4000 real resamples, theirs corrected for the number of units."""
    rng = np.random.default_rng(0)
    right, _ = simulated(SMALL)
    difference, sizes = coverage.by_unit(right), np.full(60, 5)
    units, originals = difference.shape
    seeds = rng.multinomial(units, np.full(units, 1 / units), 4000) / units
    drawn = rng.multinomial(originals, np.full(originals, 1 / originals), 4000)
    accuracy = (drawn @ difference.T) / (drawn @ sizes)[:, None]
    by_seeds = (seeds @ difference.sum(axis=1) / sizes.sum()).var() * units / (units - 1)
    by_images = accuracy.mean(axis=1).var() * originals / (originals - 1)
    ((variance, freedom),) = seeds_spread([difference.sum(axis=1) / sizes.sum()]).parts
    assert variance == pytest.approx(by_seeds, rel=0.1) and freedom == 2
    ((variance, freedom),) = images_spread([difference], sizes).parts
    assert variance == pytest.approx(by_images, rel=0.1) and freedom == 59


def test_what_seeds_and_images_have_together_is_counted_once():
    """Against the two-way analysis of variance of crossed random effects."""
    rng = np.random.default_rng(1)
    units, images = 4, 50
    table = rng.normal(0, 2, (units, 1)) + rng.normal(0, 3, images) + rng.normal(0, 1, (units, images))
    squares = images * table.mean(axis=1).var(ddof=1), units * table.mean(axis=0).var(ddof=1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    both = (rest**2).sum() / ((units - 1) * (images - 1))
    spread = crossed_spread([table], np.ones(images))
    assert spread.standard_error**2 == pytest.approx((sum(squares) - both) / (units * images))
    assert [freedom for _, freedom in spread.parts] == [3, 49]


def test_p_values_lie_between_two_textbook_answers():
    spread = Spread(((0.8, 2.0), (0.2, 400.0)))
    drawn = np.sqrt(0.8) * stats.t.rvs(2, size=200_000, random_state=0)
    drawn += np.sqrt(0.2) * stats.t.rvs(400, size=200_000, random_state=1)
    summed = np.mean(np.abs(drawn) > 3)
    single = 2 * stats.t.sf(3, 1 / (0.8**2 / 2 + 0.2**2 / 400))
    assert single < summed
    assert spread.p_value(3.0) == pytest.approx(0.2 * single + 0.8 * summed, rel=0.02)
    assert spread.p_value(-3.0) == spread.p_value(3.0)
    assert spread.p_value(spread.half_width(0.9)) == pytest.approx(0.1, rel=1e-4)
    alone = Spread(((4.0, 3.0),))
    assert alone.half_width() == pytest.approx(2 * stats.t.ppf(0.975, 3))
    assert alone.detectable() == pytest.approx(2 * (stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)))
    nothing, unknown = Spread(((0.0, 2.0), (0.0, 9.0))), Spread(((float("nan"), float("nan")), (1.0, 9.0)))
    assert (nothing.p_value(0.0), nothing.p_value(0.1), nothing.half_width()) == (1, 0, 0)
    assert np.isnan([unknown.p_value(0.1), unknown.half_width(), unknown.detectable()]).all()


def test_images_of_one_original_are_not_counted_as_many():
    right, _ = simulated(coverage.Scenario(3, 0.02, 60, 5))
    frame, shared = study(right, 5)
    (together,) = contrasts(frame, shared, PAIR).query("scope == 'mean'").itertuples()
    apart = {name: np.repeat(hits / 5, 5) for name, hits in shared.right.items()}
    spread = Scores(apart, np.ones(300))  # the same accuracies, but every image an original
    (alone,) = contrasts(frame, spread, PAIR).query("scope == 'mean'").itertuples()
    assert together.difference == pytest.approx(alone.difference)
    assert together.standard_error > 1.05 * alone.standard_error


def predictions(names: list[str], right: np.ndarray, **columns) -> pd.DataFrame:
    images = np.arange(right.shape[1])
    parts = [
        pd.DataFrame(
            {"candidate": n, "image": images, "label": 1, "prediction": np.where(hits, 1, 0), **columns}
        )
        for n, hits in zip(names, right, strict=True)
    ]
    return pd.concat(parts).sample(frac=1, random_state=0)


def test_scores_are_summed_over_originals_of_several_tables():
    right = np.array([[1, 1, 0, 1], [0, 1, 1, 0]])
    tables = [
        predictions(["x"], right[:1], original=[70, 8, 8, 8]),
        predictions(["y"], right[1:], original=[70, 8, 8, 8]),
    ]
    found = read_scores(tables)
    assert found.sizes.tolist() == [3, 1]
    assert found.right["x"].tolist() == [2, 1] and found.right["y"].tolist() == [2, 0]
    older = read_scores([table.assign(original=None) for table in tables])
    assert older.sizes.tolist() == [1, 1, 1, 1] and older.right["x"].tolist() == [1, 1, 0, 1]
    with pytest.raises(HakdError, match="y: scored on different test images"):
        read_scores([tables[0], tables[1].query("image > 0")])
    with pytest.raises(HakdError, match="z: no predictions of this candidate"):
        found.weighted(["x", "z"], np.ones(2))
    with pytest.raises(HakdError, match="no predictions"):
        read_scores([])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_step_by_step(values):
    adjusted = holm(values)
    for alpha in (0.01, 0.05, 0.3):
        left = sorted(range(len(values)), key=lambda i: values[i])
        rejected = set()
        for position, i in enumerate(left):
            if values[i] * (len(values) - position) > alpha:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


def test_verdicts_hold_together_for_a_network_and_device():
    right, _ = simulated(coverage.Scenario(5, 0.02, 400))
    frame, scores = study(right, 1)
    other = frame.assign(device="nano")
    declared = [*PAIR, {"a": "hakd/tuned", "b": "fisher/tuned/ce", "name": "again"}]
    found = contrasts(pd.concat([frame, other]), scores, declared).query("scope == 'mean'")
    assert found["contrast"].tolist() == ["hakd - fisher"] * 2 + ["again"] * 2
    assert (found["p_holm"] == np.minimum(2 * found["p_value"], 1)).all()
    assert (found["detectable_holm"] > found["detectable"]).all()
    assert found["verdict"].tolist() == ["a" if p < 0.05 else "undecided" for p in found["p_holm"]]
    at = contrasts(frame, scores, PAIR).query("scope == 'at'")
    assert at[["p_holm", "verdict", "detectable_holm"]].isna().all(axis=None) and at["p_value"].notna().all()


def test_a_contrast_never_vanishes():
    right, _ = simulated(SMALL)
    frame, scores = study(right, 5)
    torn = frame.query("method == 'fisher' or (level == 0.5) == (seed == 0)")  # no seed has both levels
    row = contrasts(torn, scores, PAIR).iloc[0]
    assert (row["scope"], row["reason"]) == ("mean", "no seed has all networks") and np.isnan(
        row["difference"]
    )
    row = contrasts(frame[frame["seed"] == 0], scores, PAIR).iloc[0]
    assert "one seed" in row["reason"] and np.isnan(row["low"]) and np.isnan(row["p_holm"])
    same = {
        f"fisher{name.removeprefix('hakd')}": right for name, right in scores.right.items() if "hakd" in name
    }
    twins = Scores({**scores.right, **same}, scores.sizes)
    level = frame.assign(
        latency_ms=frame["level"],
        accuracy=[twins.right[n].sum() / scores.sizes.sum() for n in frame["candidate"]],
    )
    row = contrasts(level, twins, PAIR).iloc[0]
    assert (row["reason"], row["p_value"], row["verdict"]) == ("the same networks", 1, "undecided")
    apart = frame.assign(device=frame["method"])
    row = contrasts(apart, scores, PAIR).iloc[0]
    assert (row["reason"], row["verdict"]) == ("no common device", "undecided")
    (row,) = contrasts(frame, scores, [{"a": "joint", "b": "hakd"}]).to_dict("records")
    assert (row["reason"], row["verdict"]) == ("no candidates of joint", "undecided")


@pytest.mark.parametrize("at", ["latency", "size"])
def test_without_a_shared_cost_the_comparison_is_within_the_larger_budget(at):
    right, _ = simulated(SMALL)
    frame, scores = study(right, 5)
    fisher = frame["method"] == "fisher"
    far = frame["latency_ms"].where(~fisher, frame["latency_ms"] * 9)
    column, less, most = {
        "latency": ("latency_ms", "faster", "slowest"),
        "size": ("size_bytes", "smaller", "largest"),
    }[at]
    frame = frame.assign(**{column: far})
    (row,) = contrasts(frame, scores, [{**PAIR[0], "at": at}]).to_dict("records")
    assert (row["scope"], row["at"], row["level_a"], row["level_b"]) == ("within", at, 0.5, 0.25)
    assert row["reason"] == f"a is {less} throughout: its {most} network within b's {at}"
    assert row[column] == far[fisher].min()
    difference = right["hakd"][0][:, 0] - right["fisher"][1][:, 0]
    spread = crossed_spread([difference], scores.sizes)
    assert row["difference"] == pytest.approx(difference.sum(axis=1).mean() / scores.sizes.sum())
    assert row["p_holm"] == pytest.approx(spread.p_value(row["difference"]))
    assert row["high"] - row["difference"] == pytest.approx(spread.half_width())
    assert row["verdict"] == (
        {True: "a", False: "b"}[row["difference"] > 0] if row["p_holm"] < 0.05 else "undecided"
    )
    (back,) = contrasts(frame, scores, [{"a": "fisher", "b": "hakd", "at": at}]).to_dict("records")
    assert back["reason"] == f"b is {less} throughout: its {most} network within a's {at}"
    assert back["difference"] == pytest.approx(-row["difference"]) and back[column] == row[column]
    alone = frame[frame["seed"] == 0]
    (one,) = contrasts(alone, scores, [{**PAIR[0], "at": at}]).to_dict("records")
    assert one["reason"] == f"{row['reason']}; one seed, or one image: no interval" and np.isnan(
        one["p_holm"]
    )
    assert compare(frame.assign(latency_ms=far), "hakd", "fisher").empty


def test_at_equal_size_lines_run_over_the_sizes_of_files():
    right, _ = simulated(SMALL)
    frame, scores = study(right, 5)
    declared = [{**PAIR[0], "name": "both"}, {**PAIR[0], "name": "both", "at": "size"}]
    sized = frame.assign(size_bytes=frame["latency_ms"] * 1000)
    found = contrasts(sized, scores, declared)
    latency, size = (found[found["at"] == at].reset_index(drop=True) for at in ("latency", "size"))
    assert latency["size_bytes"].isna().all() and size["latency_ms"].isna().all()
    np.testing.assert_allclose(size["size_bytes"], latency["latency_ms"] * 1000)
    same = ["contrast", "scope", "level_a", "level_b", "difference", "low", "high", "p_value", "seeds"]
    pd.testing.assert_frame_equal(latency[same], size[same])
    assert size["p_holm"][0] == min(2 * size["p_value"][0], 1)  # tested together
    slow = sized.assign(latency_ms=sized["latency_ms"].where(sized["method"] == "hakd", 99.0))
    assert contrasts(slow, scores, declared)["scope"].tolist() == ["within", "mean", "at", "at"]
    with pytest.raises(HakdError, match="size_bytes"):
        contrasts(frame, scores, declared)


def test_a_search_seed_with_its_trainings_is_one_unit():
    right, _ = simulated(CROSSED)
    frame, scores = study(right, 5)
    found = compare(frame, "hakd", "fisher").iloc[-1]
    by_search = coverage.by_unit(right).sum(axis=1) / scores.sizes.sum()
    assert found["seeds"] == 3
    half = stats.t.ppf(0.975, 2) * by_search.std(ddof=1) / np.sqrt(3)
    assert found["high_seeds"] - found["difference"] == pytest.approx(half)
    # One search seed, or one for each training seed, changes nothing.
    one = frame[frame["search_seed"] == 0]
    plain = compare(one.assign(search_seed=None), "hakd", "fisher")
    for searches in (0, one["seed"] + 5):
        pd.testing.assert_frame_equal(compare(one.assign(search_seed=searches), "hakd", "fisher"), plain)
    # Against a series without a search, whose trainings are no part of that luck, variances add up.
    fisher = (frame["method"] == "fisher") & (frame["search_seed"] == 0)
    mixed = pd.concat([frame[frame["method"] == "hakd"], frame[fisher].assign(search_seed=None)])
    found = compare(mixed, "hakd", "fisher").iloc[-1]
    a, b = (
        coverage._at_shared(name, right[name][:, units].sum(axis=-1)) / scores.sizes.sum()
        for name, units in (("hakd", slice(None)), ("fisher", slice(1)))
    )
    assert found["seeds"] == 2 and found["difference"] == pytest.approx(a.mean() - b.mean())
    spread = seeds_spread([a.mean(axis=1), -b[0]])
    assert found["high_seeds"] - found["difference"] == pytest.approx(spread.half_width())


def test_averages_over_search_seeds():
    right, _ = simulated(CROSSED)
    frame, _ = study(right, 5, data="d", engine="e", threads=1, trusted=True)
    found = aggregate(frame).query("method == 'hakd' and level == 0.5").iloc[0]
    by_search = right["hakd"][0].sum(axis=-1).mean(axis=1) / 300
    assert found["seeds"] == 3 and found["accuracy"] == pytest.approx(by_search.mean())
    half = stats.t.ppf(0.975, 2) * by_search.std(ddof=1) / np.sqrt(3)
    assert found["accuracy_high"] == pytest.approx(by_search.mean() + half)
    with pytest.raises(HakdError, match="duplicate seed"):
        aggregate(pd.concat([frame, frame[:1]]))


def test_budgets_are_series_of_their_own():
    right, _ = simulated(SMALL)
    frame, scores = study(right, 5, data="d", engine="e", threads=1, trusted=True)
    budget = frame["method"].map({"hakd": "round16", "fisher": "2.5ms"})
    joint = frame.assign(method="joint", budget=budget)
    found = compare(joint, "joint@round16", "joint@2.5ms/tuned")
    assert found["difference"].tolist() == compare(frame, "hakd", "fisher")["difference"].tolist()
    with pytest.raises(
        HakdError, match=r"joint: matches several series\. Name one of: joint@2\.5ms/tuned/ce, joint@round"
    ):
        compare(joint, "joint", "joint@round16")
    with pytest.raises(HakdError, match="joint@fisher: no such candidates"):
        compare(joint, "joint@fisher", "joint@round16")
    assert len(
        compare(pd.concat([frame.query("method == 'fisher'"), joint[budget == "round16"]]), "joint", "fisher")
    )
    assert len(aggregate(joint)) == 4 and set(fronts(joint, scores, 50)["budget"]) == {"round16", "2.5ms"}


def test_replicates_vary_as_the_closed_form_says():
    right, _ = simulated(coverage.Scenario(9, 0.12, 60, 5))
    sizes = np.full(60, 5)
    repeats = [Repeats(range(9), right[name][0].mean(axis=1)) for name in ("hakd", "fisher")]
    drawn = replicates(repeats, sizes, 20_000)
    assert np.array_equal(drawn, replicates(repeats, sizes, 20_000)) and drawn.shape == (20_000, 2)
    difference = repeats[0].right - repeats[1].right
    ((seeds, freedom),) = seeds_spread([difference.sum(axis=1) / 300]).parts
    ((images, _),) = images_spread([difference], sizes).parts
    off = drawn[:, 0] - drawn[:, 1]
    assert off.mean() == pytest.approx(difference.mean() / 5, abs=4 * np.sqrt((seeds + images) / 20_000))
    assert off.var() == pytest.approx(seeds * freedom / (freedom - 2) + images, rel=0.1)  # of Student's t
    one = replicates([Repeats([0], repeats[0].right[:1])], sizes, 20_000)
    ((images, _),) = images_spread([repeats[0].right[:1]], sizes).parts
    assert one.var() == pytest.approx(images, rel=0.05)


def test_places_on_the_front_are_shares_of_replicates():
    rng = np.random.default_rng(0)
    skill = {"hakd": 0.90, "fisher": 0.1, "joint": 0.90, "uniform": 0.905}
    latency = {"hakd": 1.0, "fisher": 1.2, "joint": 1.1, "uniform": 1.3}
    rows, right = [], {}
    for method, share in skill.items():
        for seed in range(3):
            name = f"{method}{seed}"
            right[name] = (
                right[f"hakd{seed}"] if method == "joint" else (rng.random(400) < share).astype(float)
            )
            rows.append(
                {
                    "network": "n", "device": "pi", "target_device": None, "level": 0.5, "seed": seed, "data": "d",
                    "engine": "e", "threads": 1, "trusted": True, "candidate": name, "method": method,
                    "recipe": "tuned", "loss": "ce", "latency_ms": latency[method], "accuracy": right[name].mean(),
                }
            )  # fmt: skip
    frame = pd.concat([pd.DataFrame(rows), pd.DataFrame(rows).assign(device="nano")])
    found = fronts(frame, Scores(right, np.ones(400)), 1000)
    assert found["device"].tolist() == ["nano"] * 4 + ["pi"] * 4
    first = found[:4].set_index("method")
    assert first.index.tolist() == ["hakd", "joint", "fisher", "uniform"]
    assert first["probability"].drop("uniform").to_dict() == {
        "hakd": 1,
        "joint": 0,
        "fisher": 0,
    }  # a twin is no gain
    assert 0.05 < first["probability"]["uniform"] < 0.95
    again = fronts(frame, Scores(right, np.ones(400)), 1000)
    pd.testing.assert_frame_equal(found, again)


def texts(path) -> list[str]:
    return [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path)]


def test_the_plot_says_what_the_table_says(tmp_path):
    right, _ = simulated(coverage.Scenario(5, 0.02, 400))
    frame, scores = study(right, 1)
    frame = pd.concat([frame.assign(network=f"n{i}") for i in range(20)])
    far = frame["latency_ms"].where((frame["network"] != "n3") | (frame["method"] == "hakd"), 99.0)
    declared = [*PAIR, {"a": "fisher/tuned", "b": "hakd/tuned/ce", "name": "the other way"}]
    declared.append({**PAIR[0], "at": "size"})
    frame = frame.assign(size_bytes=1000 * frame["latency_ms"])
    table = contrasts(frame.assign(latency_ms=far), scores, declared)
    contrasts_figure(table, tmp_path / "c.pdf")
    pages = texts(tmp_path / "c.pdf")
    assert (
        len(pages) == 3
        and "hakd - fisher, at equal size" in pages[2]
        and "hakd - fisher" in pages[0]
        and "the other way" in pages[0]
    )
    assert (
        all(f"n{i} on pi" in pages[0] for i in range(20))
        and "n19 on pi" in pages[1]
        and "the other way" in pages[1]
    )
    assert pages[0].count("n3 on pi *") == 2 and pages[0].count(" on pi *") == 2
    row = table.iloc[0]
    for value in ("difference", "low", "high"):
        assert f"{100 * row[value]:+.2f}" in pages[0]
    assert f"{100 * row['detectable']:.2f}" in pages[0]


def test_the_rules_script_writes_tables_and_plot(root, tmp_path):
    right, _ = simulated(coverage.Scenario(3, 0.12, 30, 2))
    frame, scores = study(right, 2)
    names, originals = list(scores.right), np.repeat(np.arange(30), 2)
    hits = np.array([(np.arange(60) % 2 < scores.right[n][originals]).astype(int) for n in names])
    write_table(tmp_path / "p.parquet", "predictions", predictions(names, hits, original=originals))
    rows = [{**SUMMARY_ROW, **row, "search_seed": None, "budget": None} for row in frame.to_dict("records")]
    for row in rows:
        row |= {"latency_low_ms": None, "latency_high_ms": None, "arch": f"{row['method']} {row['level']}"}
    write_table(tmp_path / "s.parquet", "summary", pd.DataFrame(rows))
    spec = importlib.util.spec_from_file_location("script", root / "workflow" / "scripts" / "contrasts.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    paths = [tmp_path / name for name in ("c.csv", "f.csv", "c.pdf")]
    script.main(tmp_path / "s.parquet", [tmp_path / "p.parquet"], PAIR, *paths)
    expected = contrasts(frame, scores, PAIR)
    found = pd.read_csv(paths[0])
    np.testing.assert_allclose(found["high"], expected["high"])
    assert list(found.columns) == list(COLUMNS)
    assert list(pd.read_csv(paths[1]).columns) == list(FRONT_COLUMNS)
    assert "hakd - fisher" in texts(paths[2])[0]


def test_every_column_is_documented(root):
    text = (root / "docs" / "results.md").read_text()
    for columns, heading in ((COLUMNS, "`results/contrasts.csv`"), (FRONT_COLUMNS, "`results/fronts.csv`")):
        section = text.split(f"## {heading}")[1].split("\n## ")[0]
        listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))
        assert listed == list(columns)
