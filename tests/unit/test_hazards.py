"""Hazards: what pruning a few channels does at worst, by what was timed, and what is not known."""

import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.cli import main
from hakd.records.tables import read_table, write_table
from hakd.staircase.hazards import hazard, lowest, slowdown
from tests.unit.shapes import curve
from tests.unit.table_rows import LATENCY_ROW


@given(
    st.dictionaries(st.integers(1, 60), st.floats(0.1, 10.0), min_size=1, max_size=40),
    st.integers(1, 60),
    st.floats(0.01, 0.99),
)
def test_the_worst_is_the_worst_of_all_timed_pairs(latency, full, share):
    widths = sorted(latency)
    found = hazard(curve([latency[w] for w in widths], widths=widths), full, share)
    least = lowest(full, share)
    # ceil((1 - share) * full), by its definition: no narrower width keeps that much.
    assert 1 <= least <= full and least >= (1 - share) * full - 1e-6
    assert least == 1 or least - 1 < (1 - share) * full
    inside = [w for w in widths if least <= w < full] if full in latency else []
    one = found.from_full
    assert (one.timed, one.widths) == (len(inside), full - least)
    assert one.ratio == (max(latency[w] for w in inside) / latency[full] - 1 if inside else None)
    pairs = [latency[w] / latency[s] - 1 for s in widths for w in widths if lowest(s, share) <= w < s]
    anywhere = found.from_any
    assert (anywhere.ratio if anywhere else None) == (max(pairs) if pairs else None)


def test_what_was_not_timed_is_not_known():
    made = curve([1.0, 2.0], widths=(50, 100))
    one = slowdown(made, 100)
    assert (one.worst, one.ratio, one.timed, one.widths) == (None, None, 0, 12)
    assert slowdown(made, 99).ratio is None and slowdown(made, 99).widths == 11
    assert hazard(made, 100).from_any is None


def latency_frame(widths=(80, 87, 88, 99, 100), residual=0.01) -> pd.DataFrame:
    """A curve whose odd widths are slow, and tiles of the full network."""
    rows = [
        {
            **LATENCY_ROW,
            "level": 1.0,
            "width": width,
            "shape": f"s{width}",
            "latency_ms": 0.02 * (1.5 if width % 4 else 1.0),
            "latency_low_ms": None,
            "latency_high_ms": None,
            "residual_p95": residual,
            "tolerance": None,
        }
        for width in widths
    ]
    tile = {
        **LATENCY_ROW,
        "kind": "tile",
        "level": 1.0,
        "width": None,
        "group": "t",
        "neighbour_widths": '{"pw1": 100}',
    }
    return pd.DataFrame([*rows, tile])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_names_widths_and_counts_what_was_timed(folder, capsys):
    about = {"device": "pi4", "engine": "onnxruntime", "engine_version": "1.31.1", "mode": "targets"}
    write_table("t.parquet", "latency", latency_frame(), about)
    assert main(["hazards", "t.parquet", "--out", "hazards.csv"]) == 0
    said = capsys.readouterr().out
    assert "m level 1 pw1: from 100 to 99 +50.0 % (2 of 12 timed)" in said
    assert "worst anywhere from 100 to 99 +50.0 % (2 of 12 timed)" in said
    assert "In 1 of 1 curve not every width of the range was timed" in said and "Mode `targets`" in said
    frame, _ = read_table("hazards.csv", "hazards")
    row = frame.iloc[0]
    assert (row["full_width"], row["lowest_width"], row["widths"], row["timed"]) == (100, 88, 12, 2)
    assert row["worst_width"] == 99 and math.isclose(row["slowdown"], 0.5) and row["device"] == "pi4"
    assert json.loads(row["neighbour_widths"]) == {"stem": 8}
    assert main(["hazards", "t.parquet", "--share", "0.01"]) == 0
    assert "from 100 to 99 +50.0 % (1 of 1 timed)" in capsys.readouterr().out


def test_widths_are_whole_numbers_beside_a_curve_of_which_nothing_is_known(folder, capsys):
    other = (
        latency_frame((80, 87, 88)).iloc[:3].assign(group="pw2", neighbour_widths='{"pw1": 100, "pw2": 100}')
    )
    lone = other.iloc[:1].assign(group="pw3", neighbour_widths="{}")
    write_table("t.parquet", "latency", pd.concat([latency_frame(), other, lone]), {"device": "pi4"})
    assert main(["hazards", "t.parquet"]) == 0
    said = capsys.readouterr().out
    assert "pw1: from 100 to 99 +50.0 % (2 of 12 timed); worst anywhere from 100 to 99 " in said
    assert "pw2: from 100 not known (0 of 12 timed); worst anywhere from 88 to 87 " in said
    assert "pw3: from 80 not known (0 of 9 timed)" in said


def test_a_full_width_that_was_not_timed_and_a_curve_that_cannot_tell_say_so(folder, capsys):
    write_table("t.csv", "latency", latency_frame((80, 87, 88), residual=0.25))
    assert main(["hazards", "t.csv"]) == 0
    said = capsys.readouterr().out
    assert (
        "pw1: from 100 not known (0 of 12 timed); worst anywhere from 88 to 87 +50.0 % (2 of 10 timed)"
        in said
    )
    assert (
        "+50.0 % (2 of 10 timed); not certain: residual p95 25.0%, tolerance 3.0%; 3 of 3 widths known"
        in said
    )
    write_table("t.csv", "latency", latency_frame((80, 87, 88), residual=None))
    assert main(["hazards", "t.csv"]) == 0
    assert "not certain: no two processes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ratio", "sure"),
    [(1.5, True), (1.045, True), (1.035, False), (1.025, False), (1.019, True), (1.0, True), (0.9, True)],
)
def test_a_hazard_is_sure_where_all_that_is_said_of_a_network_holds_together(ratio, sure):
    """Ratios are known to +-2 %, all together to +-4 %; up to 3 % may be free, and 6 % is a step that matters."""
    made = curve([ratio, 1.0], residual=0.02, widths=(99, 100))
    assert made.tolerance == pytest.approx(0.03)
    assert hazard(made, 100).trusted is sure


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["t.parquet", "--share", "0"], "above 0 and below 1"),
        (["t.parquet", "--share", "1"], "above 0 and below 1"),
        (["gone.parquet"], "no such file"),
        (["tiles.parquet"], "no curves, only tiles"),
        (["t.parquet", "--out", "h.xls"], "a table cannot be .xls"),
    ],
)
def test_bad_input_is_one_clear_error(folder, capsys, words, problem):
    frame = latency_frame()
    write_table("t.parquet", "latency", frame)
    write_table("tiles.parquet", "latency", frame[frame["kind"] == "tile"])
    if "--share" in words:
        with pytest.raises(SystemExit):  # the command line was not understood
            main(["hazards", *words])
    else:
        assert main(["hazards", *words]) == 1
    assert problem in capsys.readouterr().err
