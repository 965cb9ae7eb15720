"""Figures: pages, what is written on them, what is marked, and that no label hides another."""

import json
import re

import matplotlib
import numpy as np
import pandas as pd
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from hakd.analysis.summary import aggregate, pareto_front
from hakd.plots import pareto, staircases, style
from hakd.plots.axes import accuracy_axis, cost_axis
from hakd.plots.key import KEY_ROWS, cells
from hakd.plots.labels import place
from hakd.plots.legends import UNCHANGED
from hakd.records.columns import METHODS, RECIPES
from hakd.records.errors import HakdError

LEVELS = (0.5, 0.25, 0.125)
STUDENTS = (
    ("fisher", "tuned", "ce", 1.25, 0.0),
    ("fisher", "scratch", "ce", 1.25, -0.01),
    ("hakd", "distilled", "at+logits", 1.02, 0.012),
    ("hakd_free", "distilled", "at+logits", 1.0, 0.013),
    ("round16", "distilled", "at+logits", 1.0, 0.007),
    ("uniform", "scratch", "ce", 1.2, -0.014),
    ("uniform_aligned", "distilled", "at+logits", 0.95, -0.002),
)


def summary(networks=("mobilenet",), levels=LEVELS, seeds=3, device="local", collapsed=True) -> pd.DataFrame:
    """A plausible study: 25 candidates a network, one of them collapsed."""
    rng, rows = np.random.default_rng(0), []

    def add(network, method, recipe, loss, level, seed, latency, accuracy, size):
        latency *= 1 + rng.normal(0, 0.004)
        half = latency * abs(rng.normal(0.012, 0.004))
        rows.append(
            {
                "network": network,
                "data": "digits",
                "method": method,
                "recipe": recipe,
                "loss": loss,
                "level": level,
                "target_device": device if method.startswith("hakd") else None,
                "device": device,
                "engine": "onnxruntime 1.31.0",
                "threads": 1,
                "seed": seed,
                "accuracy": float(np.clip(accuracy + rng.normal(0, 0.005), 0, 1)),
                "latency_ms": latency,
                "latency_low_ms": latency - half,
                "latency_high_ms": latency + half,
                "size_bytes": int(size),
                "macs": int(level * 2e6),
                "trusted": method != "uniform",
                "commit": "0123456789ab",
            }
        )

    for network in networks:
        for seed in range(seeds):
            add(network, "teacher", "scratch", "ce", 1.0, seed, 0.41, 0.985, 890e3)
            for level in levels:
                latency, accuracy = 0.41 * (0.25 + 0.75 * level**0.8), 0.985 - 0.02 * (1 / level - 1) ** 0.7
                for method, recipe, loss, slower, better in STUDENTS:
                    where = (latency * slower, accuracy + better, 890e3 * level * (1 + better * 10))
                    add(network, method, recipe, loss, level, seed, *where)
            for level, accuracy in ((0.1, 0.975), (0.03, 0.955), (0.01, 0.61))[: 3 if collapsed else 2]:
                add(network, "deep_compression", "compressed", "ce", level, seed, 0.41, accuracy, 3e5 * level)
    return pd.DataFrame(rows)


def latency(groups=14, level=0.5, network="mobilenet", bad=(4,)) -> tuple[pd.DataFrame, list[dict]]:
    """Staircases of 16 for every group, some of unknown noise, and the choices by them."""
    rows, choices = [], []
    for g in range(groups):
        full, pruned, name = 64 + 8 * g, 21 + 5 * g % 40, f"pw{g}"
        reason = "no two processes timed it, its noise is unknown" if g in bad else None
        neighbours = {f"pw{g - 1}": 17 + g, f"pw{g + 1}": 23 + g}
        for width in sorted({pruned, pruned + 1, *range(8, full + 1, 8)}):
            value = (10 + 6 * np.ceil(width / 16)) / 1000
            rows.append(
                {
                    "network": network,
                    "level": level,
                    "kind": "block",
                    "group": name,
                    "width": width,
                    "neighbour_widths": json.dumps(neighbours),
                    "latency_ms": value,
                    "latency_low_ms": 0.99 * value,
                    "latency_high_ms": 1.01 * value,
                    "residual_p95": None if g in bad else 0.009,
                    "tolerance": None if g in bad else 0.018,
                    "trusted": g not in bad,
                    "reason": reason,
                }
            )
        for method in ("hakd", "hakd_free"):
            chosen = pruned if g in bad else int(16 * np.ceil(pruned / 16))
            choices.append(
                {
                    "network": network,
                    "device": "local",
                    "level": level,
                    "group": name,
                    "method": method,
                    "width_from": pruned,
                    "width_to": chosen,
                    "full_width": full,
                    "tolerance": 0.018,
                    "latency_from_ms": (10 + 6 * np.ceil(pruned / 16)) / 1000,
                    "trusted": g not in bad,
                    "reason": reason or "plateau",
                    "neighbour_widths": neighbours,
                }
            )
    return pd.DataFrame(rows), choices


def texts(path) -> list[str]:
    """The words of each page, blanks evened out."""
    document = pypdfium2.PdfDocument(path)
    found = [re.sub(r"\s+", " ", page.get_textpage().get_text_range()) for page in document]
    document.close()
    return found


def pixels(path, page=0) -> np.ndarray:
    """A rendered page, (height, width, 3)."""
    document = pypdfium2.PdfDocument(path)
    image = document[page].render(scale=1.5).to_numpy()[:, :, :3]
    document.close()
    return image


@pytest.fixture(scope="module")
def pareto_path(tmp_path_factory):
    """The plots of one network with 25 candidates."""
    path = tmp_path_factory.mktemp("pareto") / "p.pdf"
    pareto.pareto_figure(summary(), path)
    return path


@pytest.fixture(scope="module")
def staircase_path(tmp_path_factory):
    """The staircases of 14 groups."""
    path = tmp_path_factory.mktemp("staircases") / "s.pdf"
    table, choices = latency()
    staircases.staircase_figure({"local": table}, choices, path)
    return path


def test_a_page_per_network_and_device(tmp_path):
    frame = pd.concat([summary(("mobilenet", "densenet"), (), 1), summary(("mobilenet",), (), 1, "pi4")])
    titles = pareto.pareto_figure(frame, tmp_path / "p.pdf")
    assert titles == [
        "densenet on digits, timed on local",
        "mobilenet on digits, timed on local",
        "mobilenet on digits, timed on pi4",
    ]
    for title, text in zip(titles, texts(tmp_path / "p.pdf"), strict=True):
        assert title in text


def test_devices_without_results_are_named_on_every_page(tmp_path):
    frame = summary(("mobilenet", "densenet"), (), 1)
    pareto.pareto_figure(frame, tmp_path / "p.pdf", missing=["pi4", "nano"])
    assert all("no results from: pi4, nano" in text for text in texts(tmp_path / "p.pdf"))
    pareto.pareto_figure(frame, tmp_path / "p.pdf", missing=[f"board{i}" for i in range(40)])
    text, _ = texts(tmp_path / "p.pdf")
    assert "board0, board1" in text and "board39" not in text and " ..." in text
    pareto.pareto_figure(frame, tmp_path / "p.pdf")
    assert not any("no results" in text for text in texts(tmp_path / "p.pdf"))


def test_every_candidate_is_in_the_key(pareto_path):
    (text,) = texts(pareto_path)
    page = pareto.numbered(aggregate(summary()))
    assert len(page) == 25
    for row in page.itertuples():
        assert " ".join(cells(row)).strip() in text
    teacher = page[page["method"] == "teacher"].iloc[0]
    assert f"{teacher.accuracy * 100:.1f} ± " in text and "0.41" in text and "890" in text
    for words in (
        "onnxruntime 1.31.0, 1 thread, 3 seeds",
        "95 % Student-t interval over seeds",
        "latency not known to within half of min_step",
    ):
        assert words in text
    for words in (
        "test accuracy (%)",
        "measured latency of one image (ms)",
        "size of the file (kB",
        "commit 0123",
    ):
        assert words in text
    assert "25 (61." in text  # the collapsed one is at the edge, with its accuracy


@pytest.mark.parametrize(
    ("seeds", "said", "unsaid"),
    [
        (1, "accuracy of one seed, without error bars", "every seed"),
        (2, "(bars: range of the seeds)", "Student"),
        (3, "(bars: 95 % Student-t interval over seeds)", "range"),
    ],
)
def test_says_what_the_bars_are(tmp_path, seeds, said, unsaid):
    pareto.pareto_figure(summary(levels=(0.5,), seeds=seeds), tmp_path / "p.pdf")
    head = texts(tmp_path / "p.pdf")[0]
    assert said in head and unsaid not in head


def test_a_long_key_gets_pages_of_its_own(tmp_path):
    frame = summary(levels=(0.6, 0.5, 0.35, 0.25, 0.125), seeds=1)
    page = pareto.numbered(aggregate(frame))
    assert len(page) > KEY_ROWS
    titles = pareto.pareto_figure(frame, tmp_path / "p.pdf")
    plot, key = texts(tmp_path / "p.pdf")
    assert titles[1] == titles[0] + ": key" and "explained on the next page" in plot
    for row in page.itertuples():
        assert " ".join(cells(row)).strip() in key


def test_a_few_candidates_are_named_at_their_points(tmp_path):
    frame = summary(levels=(0.5,), collapsed=False)
    frame = frame[frame["method"].isin(["teacher", "hakd", "deep_compression"])]
    pareto.pareto_figure(frame, tmp_path / "p.pdf")
    (text,) = texts(tmp_path / "p.pdf")
    for words in ("1 teacher", "2 hakd 0.5", "3 deep_compression 0.1"):
        assert text.count(words) >= 2  # both plots


def test_key_shows_other_targets_and_fronts():
    frame = summary(levels=(0.5,), seeds=2)
    frame.loc[frame["method"] == "hakd", "target_device"] = "pi4"
    page = pareto.numbered(aggregate(frame))
    by_method = {row.method: cells(row) for row in page.itertuples()}
    assert by_method["hakd"][1] == "hakd for pi4" and by_method["hakd_free"][1] == "hakd_free"
    assert by_method["uniform"][6].endswith("*") and not by_method["hakd"][6].endswith("*")
    assert re.fullmatch(r"\d\d\.\d \(\d\d\.\d–\d\d\.\d\)", by_method["hakd"][5])
    for row in page.itertuples():
        assert ("L" in cells(row)[8]) == pareto_front(page)[row.Index]


def test_figures_are_the_same_every_time_and_have_real_fonts(tmp_path):
    for name in ("a.pdf", "b.pdf"):
        matplotlib.rcParams["font.size"] = 20 if name == "b.pdf" else 10  # the user's settings do not matter
        pareto.pareto_figure(summary(levels=(0.5,)), tmp_path / name)
    matplotlib.rcdefaults()
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Subtype /Type3" not in content
    assert b"CreationDate" not in content


def test_nothing_is_clipped_at_the_paper_edge(pareto_path, staircase_path):
    for path in (pareto_path, staircase_path):
        image = pixels(path)
        assert image.shape[1] / image.shape[0] == pytest.approx(297 / 210, rel=0.01)
        edge = np.concatenate(
            [image[:6].ravel(), image[-6:].ravel(), image[:, :6].ravel(), image[:, -6:].ravel()]
        )
        assert (edge == 255).all()
        assert (image < 250).any(axis=2).mean() > 0.03


def test_pareto_refuses_what_it_cannot_draw(tmp_path):
    frame = summary(levels=(0.5,), seeds=1)
    for column in ("size_bytes", "accuracy", "latency_ms", "engine", "seed"):
        with pytest.raises(HakdError, match=f"{column}: column missing"):
            pareto.pareto_figure(frame.drop(columns=column), tmp_path / "p.pdf")
    with pytest.raises(HakdError, match="without rows"):
        pareto.pareto_figure(frame.iloc[:0], tmp_path / "p.pdf")
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(20, 480), st.floats(20, 380)), min_size=1, max_size=25))
def test_labels_keep_clear_of_each_other(points):
    sizes = [(14.0, 9.0)] * len(points)
    boxes = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    centres = place(np.array(points), sizes, boxes, (0, 0, 500, 400))
    half = np.array([7.0, 4.5])
    assert (centres >= half).all() and (centres <= np.array([500, 400]) - half).all()
    for i in range(len(points)):
        near = np.abs(centres - centres[i]) < 2 * half - 1e-6
        assert near.all(axis=1).sum() == 1
    assert (centres == place(np.array(points), sizes, boxes, (0, 0, 500, 400))).all()


def test_labels_avoid_obstacles_and_stay_near():
    wall = (51.0, 0.0, 100.0, 100.0)
    (centre,) = place(np.array([[50.0, 50.0]]), [(10, 6)], [wall, (47, 47, 53, 53)], (0, 0, 100, 100))
    assert centre[0] + 5 <= 51 and np.linalg.norm(centre - 50) < 15


def test_every_method_and_recipe_has_a_look_of_its_own():
    looks = [style.look(method) for method in METHODS]
    assert len({look.marker for look in looks}) == len(METHODS)
    kinds = [style.kind_of(recipe, "ce") for recipe in RECIPES] + [style.kind_of("tuned", "at")]
    assert {style.RECIPE_FILLS[kind] for kind in kinds} == {"full", "left", "bottom", "top", "right", "none"}
    for method in METHODS:
        light = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in to_rgb(style.text_colour(method))
        ]
        assert (
            1.05 / (0.05 + np.dot(light, (0.2126, 0.7152, 0.0722))) > 4.5
        )  # the contrast asked of small text


def axes_of(values) -> tuple:
    """Empty axes and a page with these accuracies and bars of a point."""
    axes = style.page().add_subplot()
    values = np.array(values)
    page = pd.DataFrame({"accuracy": values, "bar_low": values - 0.01, "bar_high": values + 0.01})
    return axes, page


def test_accuracy_axis_cuts_off_far_outliers_only():
    axes, page = axes_of([0.2, 0.95, 0.96, 0.97, 0.98, 0.985])
    assert accuracy_axis(axes, page) == pytest.approx(95)
    assert axes.get_ylim()[0] > 90 and axes.get_ylim()[1] > 99
    axes, page = axes_of([0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    assert accuracy_axis(axes, page) == pytest.approx(70)
    axes, page = axes_of([0.5])
    assert accuracy_axis(axes, page) == 50


def test_cost_axis_has_round_ticks_and_a_log_scale_where_needed():
    axes, _ = axes_of([0.5])
    cost_axis(axes, np.array([8.0, 900.0]), "size (kB)")
    ticks = axes.xaxis.get_majorticklocs()
    assert axes.get_xscale() == "log" and len(ticks) >= 4 and {10.0, 100.0} <= set(ticks)
    axes, _ = axes_of([0.5])
    cost_axis(axes, np.array([0.2, 0.3, np.nan]), "latency (ms)")
    assert axes.get_xscale() == "linear" and axes.get_xlim()[0] < 0.2
    assert (
        style.plain(890.0) == "890"
        and style.plain(0.41, zeros=True) == "0.410"
        and style.plain(12345) == "12300"
    )
    assert style.plain(1e-6) == "0.000001"


def test_a_page_per_device_network_and_level(tmp_path):
    first, choices = latency(1)
    second, more = latency(17, 0.25, "densenet")
    both = pd.concat([first, second])
    tables = {"local": both, "pi4": first}
    titles = staircases.staircase_figure(
        tables, choices + more, tmp_path / "s.pdf", {"pi4": "ncnn, Cortex-A72"}
    )
    assert titles == [
        "densenet, level 0.25 on local (1 of 2)",
        "densenet, level 0.25 on local (2 of 2)",
        "mobilenet, level 0.5 on local",
        "mobilenet, level 0.5 on pi4",
    ]
    pages = texts(tmp_path / "s.pdf")
    assert all(title in text for title, text in zip(titles, pages, strict=True))
    assert "ncnn, Cortex-A72" in pages[3] and "pruned width" not in pages[3]  # no choices for that device


def test_staircases_name_neighbours_choices_and_reasons(staircase_path):
    (text,) = texts(staircase_path)
    _, choices = latency()
    for choice in choices:
        if choice["group"] == "pw4":
            assert f"{choice['width_from']} kept" in text
        else:
            start, end = choice["width_from"], choice["width_to"]
            assert f"{start} → {end}" in text or (start == end and f"{start} kept" in text)
    for g in range(14):
        assert f"pw{g - 1} {17 + g} / pw{g + 1} {23 + g}" in text
    for words in (
        "undecided: no two processes",
        "13 of 14 curves decided",
        "tolerance 1.8 %",
        "chosen: hakd_free",
    ):
        assert words in text
    assert "latency of the block (µs)" in text and "width of the group (channels)" in text


def test_budgets_of_one_method_have_rings_and_entries_of_their_own(tmp_path):
    table, choices = latency(1)
    ours = [one | {"method": "joint"} for one in choices if one["method"] == "hakd"]
    both = [one | {"budget": label} for one in ours for label in ("round16", "2ms")]
    staircases.staircase_figure({"local": table}, choices + both, tmp_path / "s.pdf")
    (text,) = texts(tmp_path / "s.pdf")
    assert "chosen: joint@round16" in text and "chosen: joint@2ms" in text and "chosen: hakd chosen" in text
    assert staircases.with_series(both[:1])[0]["series"] == "joint"
    axes = style.page().add_subplot()
    staircases._panel(axes, table, staircases.with_series(both), 1000.0)
    assert len({line.get_markersize() for line in axes.lines if line.get_marker() == "^"}) == 2


def panel(group: str, **changes):
    """The axes of one group, with all choices changed alike."""
    table, choices = latency(6)
    curve = table[table["group"] == group].sort_values("width")
    own = staircases._own([{**choice, **changes} for choice in choices], curve)
    axes = style.page().add_subplot()
    staircases._panel(axes, curve, own, 1000.0)
    return axes, curve, own


def test_panel_marks_pruned_and_chosen_width_and_the_band():
    axes, curve, own = panel("pw1")
    (first, _) = own
    at = curve.set_index("width")["latency_ms"] * 1000
    marks = {
        (line.get_marker(), line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    start, end = first["width_from"], first["width_to"]
    assert marks == {("o", start, at[start]), ("s", end, at[end]), ("D", end, at[end])}
    band = axes.collections[-1].get_paths()[0].vertices
    assert band[:, 0].min() == start
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((at[start], at[start] * 1.018))


def test_panel_of_a_curve_of_unknown_noise_shows_no_choice():
    axes, _, own = panel("pw4")
    assert own
    marks = [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1]
    assert marks == ["o"]
    assert any("undecided: no two processes" in text.get_text().replace("\n", " ") for text in axes.texts)
    colours = {line.get_color() for line in axes.lines if len(line.get_xdata()) > 1}
    assert UNCHANGED in colours and style.METHOD_LOOKS["fisher"].colour not in colours


def test_panel_of_a_choice_that_is_not_decided_shows_it_and_says_why():
    axes, _, own = panel("pw1", trusted=False, reason="stays: 33 is +4.0% (+1.0% to +7.0%)")
    assert len(own) == 2
    marks = [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1]
    assert sorted(marks) == ["D", "o", "s"]
    assert any("undecided: stays: 33 is" in text.get_text().replace("\n", " ") for text in axes.texts)
    assert UNCHANGED not in {line.get_color() for line in axes.lines if len(line.get_xdata()) > 1}
    plain, *_ = panel("pw1")
    assert not any("undecided" in text.get_text() for text in plain.texts)


def test_choices_belong_to_the_curve_of_their_neighbours():
    assert not panel("pw1", neighbour_widths={"pw0": 1})[2]
    assert len(panel("pw1", neighbour_widths=None)[2]) == 2
    axes, _, own = panel("pw1", tolerance=None)
    assert len(own) == 2 and len(axes.collections) == 1  # the intervals, no band


def test_short_names_of_neighbours():
    assert staircases.neighbours('{"in": 64, "out": 96}') == "in 64 / out 96"
    assert staircases.neighbours("{}") == "no neighbours of variable width"
    many = staircases.neighbours(json.dumps({f"dense.{i}": 12 for i in range(9)}))
    assert many.startswith("dense.0 12 / dense.1 12") and many.endswith("more") and len(many) < 60


def test_staircases_refuse_what_they_cannot_draw(tmp_path):
    table, choices = latency(2)
    with pytest.raises(HakdError, match="latency table of local: width: column missing"):
        staircases.staircase_figure({"local": table.drop(columns="width")}, choices, tmp_path / "s.pdf")
    bad = [{key: value for key, value in choices[0].items() if key != "tolerance"}]
    with pytest.raises(HakdError, match="tolerance: a choice lacks this key"):
        staircases.staircase_figure({"local": table}, bad, tmp_path / "s.pdf")
    with pytest.raises(HakdError, match="no block was measured"):
        staircases.staircase_figure({"local": table.assign(kind="tile")}, choices, tmp_path / "s.pdf")
    assert not list(tmp_path.iterdir())


def test_grey_copies_keep_the_methods_apart(tmp_path):
    """Rendered without colour, every method's marker still differs from every other's in many pixels."""
    shapes = []
    for method in METHODS:
        with style.styled():
            figure = style.page()
            axes = figure.add_axes((0, 0, 1, 1), frameon=False)
            axes.plot([0.5], [0.5], **style.marker(method, "distilled", 300))
            axes.set(xlim=(0, 1), ylim=(0, 1))
            figure.savefig(tmp_path / "m.png", dpi=20)
        with Image.open(tmp_path / "m.png") as image:
            shapes.append(np.asarray(image.convert("L")) < 200)
    for i, one in enumerate(shapes):
        for other in shapes[:i]:
            assert (one != other).sum() > 0.08 * one.sum()
