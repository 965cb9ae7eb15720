"""Virtual devices through the real session: times by the formula, faults on demand, recorded tables."""

import statistics

import pytest

from hakd.boards import Device, open_board
from hakd.boards.cost_model import cost_model_from
from hakd.boards.journal import read
from hakd.boards.lost import LinkLost
from hakd.boards.virtual import layers_of
from hakd.networks.families import full_architecture, network_spec
from hakd.records.errors import HakdError
from hakd.records.tables import write_table
from hakd.staircase.curve_rows import curves_from_table
from hakd.sweeping.sweep import sweep
from tests.boards.points import QUICK, pointwise

pytestmark = pytest.mark.beside

MODEL = {"overhead_us": 3.0, "tile_out": 16, "tile_in": 4, "penalty_in": 1.35}
POINTS = [pointwise(width) for width in range(15, 35)]


def virtual(reconnects: int = 3, **changes) -> Device:
    return Device("vdev", "virtual", reconnects=reconnects, cost_model={**MODEL, **changes})


def true_ms(point) -> float:
    return cost_model_from(MODEL).cost_us(layers_of(point.model())) / 1e3


def test_without_noise_a_burst_takes_what_the_formula_says(tmp_path):
    with open_board(virtual(), tmp_path) as board:
        found = board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False)
        assert board.memory(POINTS[:2], progress=False).keys() == {point.key for point in POINTS[:2]}
        assert not board.failures
    for point in POINTS:
        assert {burst.median_ns for burst in found[point.key]} == {round(1e6 * true_ms(point))}


def test_noise_spreads_as_told_and_is_the_same_for_the_same_seed(tmp_path):
    def run(seed: int, folder: str) -> list[int]:
        device = virtual(noise={"sigma": 0.02, "process_sigma": 0.01, "drift": 0.02}, seed=seed)
        with open_board(device, tmp_path / folder) as board:
            found = board.measure(POINTS, QUICK, progress=False)
        return [burst.median_ns for point in POINTS for burst in found[point.key]]

    first = run(1, "a")
    assert first == run(1, "b") != run(2, "c")
    errors = [
        ns / (1e6 * true_ms(point)) - 1
        for ns, point in zip(first, [p for p in POINTS for _ in range(6)], strict=True)
    ]
    assert 0.01 < statistics.stdev(errors) < 0.05 and abs(statistics.mean(errors)) < 0.05


@pytest.mark.parametrize("fault", ["crash_every", "hang_every"])
def test_a_point_that_fails_once_is_measured_all_the_same(tmp_path, fault):
    with open_board(virtual(faults={fault: 3}), tmp_path) as board:
        found = board.measure(POINTS, QUICK, progress=False)
        assert not board.failures
    assert all(len(bursts) == 6 for bursts in found.values())
    records = [record for path in tmp_path.glob("*/*.jsonl") for record in read(path)]
    assert sum(record["type"] == "failure" for record in records) == len(POINTS) // 3


def test_a_dropped_link_is_made_again_and_nothing_is_measured_twice(tmp_path, caplog):
    """Twenty points are weighed one by one, six of them timed: each seventh that a session sees takes the link down."""
    device = virtual(faults={"drop_link_every": 7})
    with open_board(device, tmp_path) as board:
        weights = board.memory(POINTS, progress=False)
        found = board.measure(POINTS[:6], QUICK, progress=False)
        assert 0 < board.away_s < board.clock_s() and board.failures == {}
    assert len(weights) == len(POINTS) and all(len(bursts) == 6 for bursts in found.values())
    records = [record for path in tmp_path.glob("*/*.jsonl") for record in read(path)]
    assert sum(record["type"] == "session" for record in records) == 5  # lost at the 7th, 13th, 19th and 25th
    assert sorted(r["key"] for r in records if r["type"] == "memory") == sorted(p.key for p in POINTS)
    lost = [r.getMessage() for r in caplog.records if "drop_link_every" in r.getMessage()]
    assert len(lost) == 4 and all(
        text.startswith("device vdev: the link was lost") and "(try 1 of 3)" in text for text in lost
    )


@pytest.mark.parametrize(
    ("reconnects", "ends"), [(0, r"every\)\. Run"), (2, "lost 3 times in all without a result")]
)
def test_a_link_that_is_lost_before_any_result_is_given_up(tmp_path, reconnects, ends):
    device = virtual(reconnects, faults={"drop_link_every": 1})
    with open_board(device, tmp_path) as board, pytest.raises(LinkLost, match=ends):
        board.measure(POINTS, QUICK, progress=False)


def test_a_rerun_after_a_dropped_link_loses_nothing(tmp_path):
    device, found, complaints = virtual(reconnects=0, faults={"drop_link_every": 7}), {}, []
    chunks = [POINTS[i : i + 3] for i in range(0, len(POINTS), 3)]
    while len(found) < len(POINTS) and len(complaints) < 10:
        try:
            with open_board(device, tmp_path) as board:
                for chunk in chunks:
                    found |= board.measure(chunk, QUICK, progress=False)
        except HakdError as error:
            complaints.append(str(error))
    assert complaints and all("drop_link_every" in text and "where it stopped" in text for text in complaints)
    assert len(found) == len(POINTS) and all(len(bursts) == 6 for bursts in found.values())
    bursts = [r for path in tmp_path.glob("*/*.jsonl") for r in read(path) if r["type"] == "burst"]
    assert len(bursts) == 6 * len(POINTS)


def test_a_latency_table_answers_for_the_device_it_was_measured_on(tmp_path):
    spec = network_spec(
        "small", {"family": "mobilenet", "multiplier": 0.125, "input_size": 32}, channels=3, num_classes=10
    )
    levels = {1.0: {"fisher": full_architecture(spec)}}
    settings = {"transport": "virtual", "cost_model": MODEL}
    table, metadata = sweep("vdev", settings, tmp_path / "store", levels)
    write_table(tmp_path / "vdev.parquet", "latency", table, metadata)
    again, _ = sweep(
        "copy", {"transport": "virtual", "table": str(tmp_path / "vdev.parquet")}, tmp_path / "store", levels
    )
    assert list(again["shape"]) == list(table["shape"])
    assert again["latency_ms"].to_numpy() == pytest.approx(table["latency_ms"].to_numpy(), rel=1e-3)
    with open_board(Device("copy", "virtual", table=str(tmp_path / "vdev.parquet")), tmp_path / "s") as board:
        assert board.measure(POINTS[:1], QUICK, progress=False) == {}
        assert "not in the recorded table" in board.failures[POINTS[0].key]


def test_an_exhaustive_sweep_has_every_width_at_its_true_time(tmp_path):
    spec = network_spec(
        "small", {"family": "mobilenet", "multiplier": 0.125, "input_size": 32}, channels=3, num_classes=10
    )
    levels = {1.0: {"fisher": full_architecture(spec)}}
    settings = {"transport": "virtual", "cost_model": MODEL, "rounds": 3}
    table, metadata = sweep(
        "vdev", settings, tmp_path, levels, mode="exhaustive", groups=["block1", "block6"]
    )
    curves = curves_from_table(table, 1.0)
    assert {group: len(curve.widths) for group, curve in curves.items()} == {"block1": 8, "block6": 64}
    assert all(curve.widths == tuple(range(1, len(curve.widths) + 1)) for curve in curves.values())
    assert metadata["mode"] == "exhaustive"
    assert metadata["stopped"]["1 block6"]["by"] == "precision"
    assert metadata["stopped"]["1 block6"]["widths"] == list(range(1, 65))
    few, _ = sweep("vdev", settings, tmp_path, levels, mode="targets", groups=["block6"])
    exact = dict(zip(table["shape"], table["latency_ms"], strict=True))
    for shape, latency_ms in zip(few["shape"], few["latency_ms"], strict=True):
        assert latency_ms == pytest.approx(exact[shape], rel=1e-6)
