"""`hakd recheck` on virtual devices: another cost model is an engine update, and the formula says what is stale."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from hakd.boards.cost_model import cost_model_from
from hakd.boards.journal import read
from hakd.boards.virtual import layers_of
from hakd.cli import FINDING, FINE, main
from hakd.latency_tables.parts import parts_of, spec_from
from hakd.latency_tables.recheck import RatioCheck, Verdict, pairs_to_check, recheck
from hakd.latency_tables.recheck_report import renewal, text
from hakd.networks.engine_model import engine_model
from hakd.networks.onnx_model import stand_in_weights
from hakd.records.files import write_json
from hakd.records.tables import read_table, write_table
from hakd.staircase.ratio import Ratio
from hakd.study.devices import find_device
from tests.boards.virtual_tables import GROUPS, MODEL, swept_project, write_device

pytestmark = [pytest.mark.beside, pytest.mark.xdist_group("recheck_command")]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A table of two groups, mapped on a virtual device without noise."""
    return swept_project(tmp_path_factory, "recheck", ("small", "table.parquet", "--groups", *GROUPS))


@pytest.fixture(autouse=True)
def there(project, monkeypatch):
    monkeypatch.chdir(project)


def bursts(store: str) -> int:
    return sum(one["type"] == "burst" for path in Path(store).glob("*/*.jsonl") for one in read(path))


def truth(**model) -> dict[tuple[str, int], float]:
    """Microseconds of every block of the table by the formula."""
    frame, about = read_table("table.parquet", "latency")
    spec, cost = spec_from(about, "table"), cost_model_from({**MODEL, **model})
    found = {}
    for row, part in zip(frame.itertuples(), parts_of(frame, spec, "table"), strict=True):
        graph = part.graph
        model_ = engine_model("onnxruntime", graph, stand_in_weights(graph), 1)
        found[row.group, int(row.width)] = cost.cost_us(layers_of(model_))
    return found


def test_nothing_changed_and_every_time_is_a_fresh_one(capsys):
    words = ["recheck", "vdev.yaml", "--table", "table.parquet", "--store", "fresh"]
    assert main(words) == FINE
    said = capsys.readouterr().out
    assert re.search(
        r"^vdev: onnxruntime virtual-1 \(fingerprint \w{16}\), as when the table was made$",
        said,
        re.MULTILINE,
    )
    assert "the median latency is 1.00 times the table's" in said and said.endswith("All 2 curves hold.\n")
    once = bursts("fresh")
    assert once > 0 and main(words) == FINE and bursts("fresh") == 2 * once


@pytest.mark.parametrize(
    "model",
    [{"tile_out": 32}, {"tile_out": 8}, {"tile_in": 1}, {"humps": [{"out": [17, 32], "factor": 1.3}]}],
)
def test_what_is_stale_is_what_the_formula_says(model, tmp_path, capsys):
    device = write_device(tmp_path / "new.yaml", **model)
    frame, _ = read_table("table.parquet", "latency")
    now, pairs, wrong = truth(**model), pairs_to_check(frame, 2), set()
    for pair in pairs:
        group = pair.curve[1]
        change = now[group, pair.after] / now[group, pair.before] / pair.ratio
        if abs(np.log(change)) > np.log1p(pair.eps) + 1e-3:  # times are whole nanoseconds
            wrong.add(group)
    assert wrong, "a change of the model that no pair could tell"
    assert main(["recheck", device, "--table", "table.parquet"]) == FINDING
    said = capsys.readouterr().out
    assert " when the table was made, onnxruntime virtual-1 (fingerprint " in said
    assert {group for group in GROUPS if re.search(rf"level 1 {group} +STALE ", said)} == wrong
    assert f"{len(wrong)} of 2 curves are stale." in said and "unclear" not in said
    assert "`-R sweep` at its end" in said  # a table that is deleted is not missed by a finished study


def test_an_engine_that_is_faster_throughout_changes_no_choice(tmp_path, capsys):
    device = write_device(
        tmp_path / "fast.yaml", overhead_us=0.25, us_per_mmac=20.0, depthwise_us_per_mmac=15.0
    )
    assert main(["recheck", device, "--table", "table.parquet"]) == FINE
    said = capsys.readouterr().out
    assert "the median latency is 0.50 times the table's" in said
    assert "relative to the median point: 2 unchanged\n" in said


@pytest.mark.parametrize(
    "model", [{"depthwise_us_per_mmac": 400.0}, {"humps": [{"out": [1, 24], "factor": 1.5}]}]
)
def test_layers_that_became_slower_than_the_others_are_named_as_the_formula_says(model, tmp_path, capsys):
    device = write_device(tmp_path / "new.yaml", **model)
    words = ["recheck", device, "--table", "table.parquet", "--json"]
    status = main(words)
    said = json.loads(capsys.readouterr().out)
    frame, _ = read_table("table.parquet", "latency")
    then, now = truth(), truth(**model)
    points = {
        group: {
            width
            for pair in pairs_to_check(frame, 2)
            if pair.curve[1] == group
            for width in (pair.before, pair.after)
        }
        for group in GROUPS
    }
    shifts = {place: np.log(now[place] / then[place]) for place in now if place[1] in points[place[0]]}
    scale = np.median(list(shifts.values()))
    assert said["scale"] == pytest.approx(np.exp(scale), rel=3e-3)
    expected = {
        group: np.exp(np.mean([shifts[group, width] for width in widths]) - scale)
        for group, widths in points.items()
    }
    assert [one["group"] for one in said["curves"]] == sorted(GROUPS, key=lambda group: -expected[group])
    for one in said["curves"]:
        assert one["ratio"] == pytest.approx(expected[one["group"]], rel=3e-3)
        assert one["ratio_low"] <= one["ratio"] <= one["ratio_high"]
        own = [np.exp(shifts[one["group"], width] - scale) for width in points[one["group"]]]
        assert (one["lowest"], one["highest"]) == pytest.approx((min(own), max(own)), rel=3e-3)
        far = abs(np.log(expected[one["group"]])) > np.log1p(one["tolerance"])
        assert one["change"] == ("unchanged" if not far else "slower" if one["ratio"] > 1 else "faster")
        assert one["state"] == (
            "STALE" if "STALE" in {check["state"] for check in one["checks"]} else "holds"
        )
    assert "slower" in {one["change"] for one in said["curves"]}
    assert said["holds"] == (status == FINE) and said["stale_choices"] == []


@pytest.mark.parametrize("seed", range(3))
def test_noise_raises_no_alarm(seed, tmp_path):
    noise = {"sigma": 0.01, "spike_probability": 0.03, "drift": 0.05, "process_sigma": 0.02}
    device = write_device(tmp_path / "noisy.yaml", noise=noise, seed=seed)
    frame, about = read_table("table.parquet", "latency")
    found = recheck(find_device(device), frame, about, spec_from(about, "t"), "table.parquet", "bursts")
    assert "STALE" not in found.states.values() and "STALE" not in text(found, [])
    assert {one.state for one in found.changes} <= {"unchanged", "undecided"}
    assert all(one.ratio.low < 1 < one.ratio.high for one in found.changes)


def test_stale_choices_are_named(tmp_path, capsys):
    choice = {"level": 1.0, "group": GROUPS[0], "width_from": 20, "width_to": 32, "method": "hakd"}
    kept = {**choice, "width_to": 20}
    methods = {"hakd": {"choices": [choice]}, "hakd_free": {"choices": [kept, {**choice, "level": 0.5}]}}
    methods["joint@round16"] = {"choices": [{**choice, "method": "joint", "budget": "round16"}]}
    write_json(tmp_path / "snap.json", "snap", {"methods": methods})
    device = write_device(tmp_path / "new.yaml", tile_out=32)
    words = ["recheck", device, "--table", "table.parquet", "--choices", str(tmp_path / "snap.json")]
    assert main(words) == FINDING
    said = capsys.readouterr().out
    assert said.count("stale choice") == 2 and "stale choice: joint@round16 at level 1" in said
    assert f"stale choice: hakd at level 1: {GROUPS[0]} 20 -> 32" in said
    assert "To renew them: in a study, run the study's command with `-R sweep` at its end; otherwise" in said


def test_choices_made_together_rest_on_what_layers_cost_against_one_another(tmp_path, capsys):
    choices = [{"level": 1.0, "group": group, "width_from": 20, "width_to": 20} for group in GROUPS]
    methods = {name: {"choices": choices} for name in ("hakd", "joint")}
    write_json(tmp_path / "snap.json", "snap", {"methods": methods})
    device = write_device(tmp_path / "new.yaml", depthwise_us_per_mmac=400.0)
    words = [
        "recheck",
        device,
        "--table",
        "table.parquet",
        "--choices",
        str(tmp_path / "snap.json"),
        "--json",
    ]
    assert main(words) == FINDING
    said = json.loads(capsys.readouterr().out)
    changed = {one["group"]: one["change"] for one in said["curves"] if one["change"] in ("slower", "faster")}
    assert changed
    assert {(one["method"], one["group"]): one["because"] for one in said["stale_choices"]} == {
        ("joint", group): state for group, state in changed.items()
    }
    assert all(one["file"] == str(tmp_path / "snap.json") for one in said["stale_choices"])
    assert said["renew"] == "Run the study's command with `-R sweep` at its end"


def test_choices_are_read_before_anything_is_timed(capsys):
    words = [
        "recheck",
        "vdev.yaml",
        "--table",
        "table.parquet",
        "--choices",
        "nowhere.json",
        "--store",
        "unused",
    ]
    assert main(words) == FINDING
    assert "nowhere.json: " in capsys.readouterr().err and not Path("unused").exists()


def test_the_same_engine_is_measured_again_by_a_new_epoch():
    frame, about = read_table("table.parquet", "latency")
    found = recheck(find_device("vdev.yaml"), frame, about, spec_from(about, "t"), "table.parquet", "bursts")
    assert found.then == found.now
    assert renewal(found).startswith(
        "Set `epoch: 2` for vdev in the configuration and run the study's command"
    )


def test_a_csv_table_goes_by_the_configuration(capsys):
    frame, _ = read_table("table.parquet", "latency")
    write_table("table.csv", "latency", frame)
    assert main(["recheck", "vdev.yaml", "--table", "table.csv", "--group", GROUPS[1]]) == FINE
    said = capsys.readouterr().out
    assert "the table does not say what it was made with" in said and "The only curve holds." in said


def test_pairs_and_verdicts():
    frame, _ = read_table("table.parquet", "latency")
    pairs = pairs_to_check(frame, 3)
    assert [pair.step for pair in pairs].count(False) == 2
    for pair in pairs:
        assert (abs(np.log(pair.ratio)) > np.log1p(pair.eps)) == pair.step
    assert all(pair.after - pair.before == 1 for pair in pairs if pair.step)
    pair = RatioCheck((1.0, "a"), 16, 17, 1.2, 0.02, True)
    states = {
        Ratio(1.2, 1.19, 1.21): "holds",
        Ratio(1.0, 0.99, 1.01): "STALE",
        Ratio(1.3, 1.26, 1.34): "STALE",
        Ratio(1.1, 0.9, 1.25): "unclear",
        None: "unclear",
    }
    assert {now: Verdict(pair, now).state for now in states} == states
    assert (
        Verdict(pair, Ratio(1.0, 0.99, 1.01)).words == "step 16->17: +20.0% then, +0.0% now (-1.0% to +1.0%)"
    )


def test_mistakes_are_one_line(tmp_path, capsys):
    frame, about = read_table("table.parquet", "latency")
    write_table(tmp_path / "bad.parquet", "latency", frame.assign(residual_p95=None, tolerance=None), about)
    assert main(["recheck", "vdev.yaml", "--table", str(tmp_path / "bad.parquet")]) == FINDING
    said = capsys.readouterr().err
    assert (
        "no curve whose noise is known. Sweep the network again (with `hakd sweep --again`" in said
        and said.count("\n") == 1
    )
