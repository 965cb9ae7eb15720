"""Seams between tiles, and the audit of a device: from parts to predictions, a table and a page."""

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pypdfium2
import pytest

from benchmarks import prediction
from hakd.networks.families import full_architecture
from hakd.ops.tensors import Segment
from hakd.plots.audit import COLUMNS, audit_figure, audit_table
from hakd.records.graph import Builder
from hakd.sweeping.auditing import audit_device
from hakd.sweeping.parts import engine_graph
from hakd.sweeping.seams import Parts, pair_graphs
from tests.unit.builders import SPECS

CALL_MS = 0.003


@pytest.mark.parametrize("family", ["mobilenet", "densenet"])
def test_pairs_are_neighbouring_tiles_as_one_part(family):
    graph = engine_graph(full_architecture(SPECS[family]()))
    tiles, pairs = graph.tiles(), pair_graphs(graph)
    assert list(pairs) == list(pairwise(tiles))
    for (a, b), pair in pairs.items():
        assert pair.macs() == tiles[a].macs() + tiles[b].macs()
        assert pair.inputs == tiles[a].inputs and pair.output == tiles[b].output
        assert [op.name for op in pair.ops] == [op.name for t in (a, b) for op in tiles[t].ops]


def test_a_tile_whose_output_a_third_one_reads_too_makes_no_pair():
    b = Builder(3, 8)
    b.tile = "one"
    x = b.conv(b.input, "a", Segment("a", 4), 3)
    b.tile = "two"
    y = b.conv(x, "b", Segment("b", 4), 3)
    b.tile = "three"
    graph = b.graph(b.concat((x, y), "both"))
    assert list(pair_graphs(graph)) == [("two", "three")]  # what one makes, three reads too


def network(blocked: int, plain: int, scale: float = 1.0) -> tuple[Parts, float]:
    """Parts of a network whose blocked seams save 8 us and the others a call, and what it takes."""
    savings = [0.008] * blocked + [CALL_MS] * plain
    tiles = {f"t{i}": 0.02 + 0.001 * i for i in range(len(savings) + 1)}
    pairs = {
        (a, b): tiles[a] + tiles[b] - saving for (a, b), saving in zip(pairwise(tiles), savings, strict=True)
    }
    parts = Parts(tiles, pairs)
    return parts, scale * (sum(tiles.values()) - sum(savings))


def test_seams_make_up_for_what_no_single_overhead_can():
    made = {f"n{b}{p}": network(b, p) for b, p in ((0, 12), (12, 0), (6, 6), (3, 9), (9, 3), (1, 11), (8, 4))}
    parts = {arch: one for arch, (one, _) in made.items()}
    measured = {arch: ms for arch, (_, ms) in made.items()}
    predicted, found = audit_device(parts, measured, {arch: [f"{arch}/0", f"{arch}/1"] for arch in made})
    assert predicted == pytest.approx(measured)
    stages = found["quality"]
    assert stages["one_overhead_ms"]["all"]["within_5"] < 0.6 < stages["predicted_ms"]["all"]["within_5"] == 1
    assert stages["sum_ms"]["all"]["lowest"] > 1.05
    assert found["overhead"]["seams"] == 7 * 12
    assert found["overhead"]["lowest_ms"] == pytest.approx(CALL_MS)
    assert found["overhead"]["highest_ms"] == pytest.approx(0.008)
    assert not found["correction"]["biased"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_bias_of_all_networks_is_taken_out_by_the_others():
    made = {f"n{b}": network(b, 12 - b, scale=1.2) for b in range(8)}
    parts = {arch: one for arch, (one, _) in made.items()}
    measured = {arch: ms for arch, (_, ms) in made.items()}
    predicted, found = audit_device(parts, measured, {})
    assert predicted == pytest.approx(measured)
    assert found["correction"]["biased"] and found["correction"]["factor"] == pytest.approx(1.2)
    odd = {**measured, "n3": 2 * measured["n3"]}
    assert audit_device(parts, odd, {})[0]["n3"] == predicted["n3"]


def test_an_unmeasured_seam_saves_what_others_do_and_no_network_beats_its_slowest_tile():
    parts, ms = network(0, 4)
    less = Parts(parts.tiles_ms, dict(list(parts.pairs_ms.items())[:-1]))
    assert less.joined_ms == pytest.approx(ms)
    assert Parts(parts.tiles_ms, {}).joined_ms == pytest.approx(parts.sum_ms)
    assert Parts({"a": 1.0, "b": 0.2}, {("a", "b"): 0.9}).joined_ms == 1.0
    assert Parts(parts.tiles_ms, parts.pairs_ms, pace=1.1).joined_ms == pytest.approx(1.1 * ms)


def benchmark(networks: int) -> dict:
    """A benchmark's record with an audit of so many networks."""
    made = {f"n{b}": network(b, 12 - b, scale=1.2) for b in range(networks)}
    parts = {arch: one for arch, (one, _) in made.items()}
    measured = {arch: ms for arch, (_, ms) in made.items()}
    _, found = audit_device(parts, measured, {arch: [f"{arch}/0"] for arch in made})
    device = {"name": "pi4", "engine": "onnxruntime 1.0", "threads": 1}
    return {"device": device, "trust": "trusted", "audit": found}


def page(content: dict, path: Path) -> str:
    """The text of the one page of a plot."""
    audit_figure(content, path)
    (only,) = pypdfium2.PdfDocument(path)
    return only.get_textpage().get_text_range()


def test_the_page_and_the_table_say_what_was_found(tmp_path):
    content = benchmark(8)
    text = page(content, tmp_path / "a.pdf")
    assert "latency on pi4" in text and "onnxruntime 1.0, 1 thread" in text
    assert "multiplied by 1.200" in text and "100% within 5 %" in text
    frame = audit_table(content["audit"])
    assert list(frame.columns) == list(COLUMNS) and len(frame) == 8
    assert frame["ratio_after"].tolist() == pytest.approx([1.0] * 8)
    assert frame["ratio_before"].min() < 0.95 and frame["candidates"][0] == "n0/0"


def test_few_networks_and_none_are_told_as_such(tmp_path):
    assert "too few to detect a bias" in page(benchmark(3), tmp_path / "few.pdf")
    nothing = {**benchmark(1), "audit": {}}
    assert "nothing to compare" in page(nothing, tmp_path / "none.pdf")
    assert list(audit_table({}).columns) == list(COLUMNS) and audit_table({}).empty
    assert audit_device({}, {"a": 1.0}, {}) == ({}, {})


def test_the_tables_columns_are_documented():
    text = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text()
    assert all(f"| `{column}` | " in text for column in COLUMNS)


def test_the_benchmark_reports_every_correction_and_marks_misses(tmp_path):
    made = {f"n{b}": network(b, 12 - b) for b in range(8)}
    rows = [
        {
            "network": "ab"[i % 2],
            "level": 0.5,
            "method": "fisher",
            "arch": arch,
            "tiles": 13,
            "measured_ms": ms * (1.5 if arch == "n7" else 1),
            "sum_ms": one.sum_ms,
            "seams_ms": one.joined_ms,
            "pace": 1.0,
        }
        for i, (arch, (one, ms)) in enumerate(made.items())
    ]
    lines = prediction.report(pd.DataFrame(rows)).splitlines()
    assert lines[0] == "8 networks, 8 of at least 0.2 ms"
    assert "| seams and pace, refit | 0.67 | 1.00 | 1.00 | 88% | 88% |" in lines
    assert [line for line in lines if line.endswith(" * |")] == [lines[-1]]
    graph = engine_graph(full_architecture(SPECS["mobilenet"]()))
    kinds, took_us = prediction.nodes(graph.tiles()["head"], str(tmp_path))
    assert kinds["Gemm"][0] == 1 and 0 < took_us < 1e5
