"""`hakd sweep` but for the timing: which network, from which widths, to which file, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from hakd.latency_tables.build import SUFFIXES, TableRequest, _levels
from hakd.latency_tables.summary import summary
from hakd.networks.families import build_graph, full_widths
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.files import check_place, write_json
from hakd.study.files import Configuration
from hakd.study.networks import network_of
from tests.unit.shapes import comb, flat, slope, staircase
from tests.unit.table_rows import rows

CONFIG = Configuration(
    {
        "data": {"name": "digits"},
        "networks": {
            "mobilenet": {"family": "mobilenet", "multiplier": 0.25},
            "bad": {"family": "densenet", "multiplier": 2},
        },
    },
    "config.yaml",
)


def request(**changes) -> TableRequest:
    return TableRequest(**{"network": "mobilenet", "mode": "map", "out": "t.csv", **changes})


def test_a_network_is_a_name_of_the_configuration_or_a_family():
    spec = network_of(CONFIG, "mobilenet")
    assert (spec.options["multiplier"], spec.input_channels, spec.num_classes) == (0.25, 1, 10)
    plain = network_of(CONFIG, "densenet", 3, 100)
    assert (plain.family, plain.input_channels, plain.num_classes) == ("densenet", 3, 100)
    assert network_of(Configuration({}, "c"), "mobilenet").input_channels == 3
    with pytest.raises(
        HakdError, match=r"yaml: networks: unknown network 'x'\. Known: mobilenet, bad, mobilenetv2"
    ):
        network_of(CONFIG, "x")
    with pytest.raises(
        HakdError, match=r"config\.yaml: networks\.bad\.multiplier: densenet has no such option"
    ):
        network_of(CONFIG, "bad")


def test_levels_scale_all_widths_alike():
    spec = network_of(CONFIG, "mobilenet")
    full = full_widths(spec)
    found = _levels(spec, request(levels=(1.0, 0.5)))
    assert found[1.0]["fisher"].widths == full
    half = found[0.5]["fisher"].widths
    share = build_graph(Architecture(spec, half)).macs() / build_graph(Architecture(spec, full)).macs()
    assert 0.4 < share <= 0.5
    assert max(half[g] / full[g] for g in full) - min(half[g] / full[g] for g in full if full[g] >= 32) < 0.05
    with pytest.raises(HakdError, match="Raise the level"):
        _levels(spec, request(levels=(1e-6,)))


def test_widths_of_a_study(tmp_path):
    spec = network_of(CONFIG, "mobilenet")
    narrow = Architecture(spec, {group: max(1, width // 2) for group, width in full_widths(spec).items()})
    path = tmp_path / "0.3.json"
    write_json(path, "widths", {"level": 0.3, "methods": {"fisher": narrow.to_dict()}})
    found = _levels(spec, request(widths=[str(path)]))
    assert found == {0.3: {"fisher": narrow}}
    with pytest.raises(HakdError, match=r"0\.3\.json: network: widths of 'mobilenet', not of 'densenet'"):
        _levels(spec, request(network="densenet", widths=[str(path)]))
    with pytest.raises(HakdError, match=r"cannot read \(Is a directory\)"):
        _levels(spec, request(widths=[str(tmp_path)]))
    for level in ({}, {"level": "half"}, {"level": 0}, {"level": True}):
        write_json(path, "widths", {**level, "methods": {"fisher": narrow.to_dict()}})
        with pytest.raises(HakdError, match=r"0\.3\.json: level: .* is not a level"):
            _levels(spec, request(widths=[str(path)]))
    write_json(path, "widths", {"level": 0.3, "methods": {}})
    with pytest.raises(HakdError, match="no pruned widths"):
        _levels(spec, request(widths=[str(path)]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t.xlsx", "cannot be .xlsx"),
        ("t", "without suffix"),
        ("folder.csv", "is a folder"),
        ("file/t.csv", "cannot write"),
    ],
)
def test_a_table_that_could_not_be_written_is_refused_first(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(HakdError, match=message):
        check_place(str(tmp_path / name), SUFFIXES, "a table")
    check_place(str(tmp_path / "new" / "deep" / "t.parquet"), SUFFIXES, "a table")
    assert not (tmp_path / "new").exists()


def test_the_summary_says_what_each_curve_shows():
    curves = {
        "a": staircase(16),
        "b": comb(4),
        "c": slope(0.001, 0.5),
        "d": flat(),
        "f": slope(0.02, 1.0),
        "e": staircase(8, 0.04, 2.0),
    }
    frame = pd.DataFrame([row for group, cost in curves.items() for row in rows(group, cost, 64)])
    about = {
        "engine": "onnxruntime",
        "engine_version": "1.31.1",
        "device": "pi4",
        "curves": 6,
        "curves_decided": 6,
    }
    lines = summary(frame, {**about, "seconds": 12.3, "failures": {"a9": "timeout"}})
    assert (
        lines[0] == f"mobilenet on pi4 (onnxruntime 1.31.1): {len(frame)} points, 6 of 6 curves decided, 12 s"
    )
    told = {line.split()[0]: line for line in lines[2:]}
    assert (
        "140.0 us at 1, 260.0 us at 64: 16->17 +29%, 32->33 +22%, 48->49 +18%; residual p95 0.2%" in told["a"]
    )
    assert "a comb of 4; " in told["b"] and "smaller" in told["b"]
    assert ": a slope without steps; " in told["f"]
    assert (
        ": a slope without steps; " in told["c"] and ": flat; " in told["d"] and "2.04 ms at 1" in told["e"]
    )
    assert told["a9"] == "  a9 failed: timeout"
    assert all("run the same command again" not in line for line in lines)
    some = summary(frame, {**about, "curves_decided": 4, "seconds": 12.3, "failures": {}})
    assert (
        "4 of 6 curves decided" in some[0]
        and "run the same command again for further looks (up to 12 in all)" in some[1]
    )
    assert some[2:] == lines[1:-1]


def test_what_a_noisy_curve_lacks_is_said_in_the_summary():
    frame = pd.DataFrame(rows("a", staircase(16), 64, residual=0.08))
    about = {"engine": "e", "engine_version": "1", "device": "d", "curves": 1, "curves_decided": 0}
    line = summary(frame, {**about, "seconds": 1.0, "failures": {}})[-1]
    count = len(frame)
    assert "residual p95 8.0%, tolerance 3.0%; " in line
    assert (
        f"; {count} of {count} widths known to +-8.3% only, {(0.08 / np.log1p(0.03)) ** 2:.1f} times the"
        in line
    )
    frame = pd.DataFrame(rows("a", staircase(16), 64, residual=None))
    line = summary(frame, {**about, "seconds": 1.0, "failures": {}})[-1]
    assert line.endswith("no two processes timed it, its noise is unknown")
