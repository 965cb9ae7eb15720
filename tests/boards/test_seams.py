"""Parts of networks on virtual devices, through the real session: the truth is a formula."""

import pytest

from benchmarks import joint_choice
from hakd.boards import open_board
from hakd.boards.cost_model import CostModel
from hakd.networks.families import full_architecture
from hakd.study.measuring import device_from
from hakd.sweeping.parts import engine_graph, point
from hakd.sweeping.seams import tie_points, time_parts
from hakd.sweeping.timing import end_to_end
from tests.unit.builders import SPECS

MODEL = {"overhead_us": 30.0, "us_per_mmac": 2000.0, "depthwise_us_per_mmac": 2000.0, "tile_out": 8}


def timed(store, noise):
    """Parts and end-to-end latencies (ms) of two networks of two families, and what they truly take."""
    settings = {"transport": "virtual", "min_step": 0.5, "cost_model": {**MODEL, "noise": noise}}
    device, measuring = device_from("vdev", settings)
    pruned = [joint_choice.pruning(SPECS[family](), 1)[0] for family in ("mobilenet", "densenet")]
    networks = {one.arch: one for one in (*pruned, *(full_architecture(one.spec) for one in pruned))}
    points = {arch: point(engine_graph(one), arch, device) for arch, one in networks.items()}
    ties = tie_points(list(networks.values()), device)
    with open_board(device, store) as board:
        found = end_to_end(board, [*points.values(), *ties], measuring, "benchmark").by_key
        beside = {one.key: found[one.key].latency_ms for one in ties}
        parts = time_parts(board, list(networks.values()), measuring, beside)
    whole = {arch: found[one.key].latency_ms for arch, one in points.items()}
    truth = {arch: joint_choice.true_ms(one, CostModel(**MODEL)) for arch, one in networks.items()}
    return parts, whole, truth


def test_without_noise_every_seam_saves_a_call_of_the_engine(tmp_path):
    parts, whole, truth = timed(tmp_path, {})
    assert set(parts) == set(whole)
    for arch, found in parts.items():
        assert whole[arch] == pytest.approx(truth[arch], rel=1e-3)
        assert found.joined_ms == pytest.approx(truth[arch], rel=1e-3)
        assert list(found.savings_ms.values()) == pytest.approx([0.03] * (len(found.tiles_ms) - 1), abs=1e-5)
        assert found.sum_ms > 1.1 * truth[arch] and found.pace == pytest.approx(1, rel=1e-3)


def test_tiles_beside_the_networks_tell_the_pace_of_the_machine(tmp_path):
    parts, whole, _ = timed(tmp_path, {"process_sigma": 0.1})
    paces = {found.pace for found in parts.values()}
    assert len(paces) == 2 and max(abs(pace - 1) for pace in paces) > 0.01  # one per network family
    for arch, found in parts.items():
        assert found.joined_ms == pytest.approx(whole[arch], rel=0.005)
