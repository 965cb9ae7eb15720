"""Energy and memory of real models on this machine, by the real agent; a command is the energy sensor."""

import sys

import pytest

from hakd.boards import open_board
from hakd.boards.energy import energy_sensor
from hakd.boards.journal import read
from hakd.evaluation.energy import energy_columns
from hakd.records.errors import HakdError
from tests.boards.points import pointwise

# The CPU time of all that ran on this machine, at ten watts: joules that rise with work.
METER = "import os; print(10 * sum(map(int, open('/proc/stat').readline().split()[1:4])) / os.sysconf('SC_CLK_TCK'))"
SETTINGS = {"command": f'{sys.executable} -S -c "{METER}"', "burst_s": 0.5}


def test_energy_of_a_command_is_measured_once_and_kept(local, tmp_path):
    store, small, large = tmp_path / "store", pointwise(8), pointwise(512, inputs=256, size=32)
    with open_board(local(), store) as board:
        bursts = board.energy([small, large], SETTINGS)
    found = {key: energy_columns(one) for key, one in bursts.items()}
    assert all(one["calls"] >= 3 and one["wall_ns"] >= 5e8 for each in bursts.values() for one in each)
    assert found[large.key]["energy_mj"] > 20 * found[small.key]["energy_mj"] > 0
    assert (
        found[large.key]["energy_low_mj"]
        <= found[large.key]["energy_mj"]
        <= found[large.key]["energy_high_mj"]
    )
    with open_board(local(), store) as board:
        assert board.energy([small, large], SETTINGS) == bursts and board.timed == 0
    records = [record for path in store.glob("*/*.jsonl") for record in read(path)]
    assert sum(record["type"] == "energy" for record in records) == 2


def test_without_a_command_it_is_what_the_machine_has_and_no_sensor_is_asked_for_once(local, tmp_path):
    points, there = [pointwise(8), pointwise(16)], energy_sensor({}) is not None
    with open_board(local(), tmp_path / "store") as board:
        found = board.energy(points, {"burst_s": 0.1})
        assert found.keys() == ({point.key for point in points} if there else set())
        assert all(burst["joules"] > 0 for bursts in found.values() for burst in bursts)
        assert board.timed == (2 if there else 1)  # the first process found none, no other was started
        board.energy(points, {"burst_s": 0.1})
        assert board.timed == 2  # what was not there may be there now


def test_a_command_that_fails_is_an_error_that_names_its_key(local, tmp_path):
    with (
        open_board(local(), tmp_path / "store") as board,
        pytest.raises(HakdError, match=r"its command gives no energy \(.*exit status 1") as caught,
    ):
        board.energy([pointwise(8)], {"command": "false"})
    assert caught.value.key == "energy.command"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_memory_holds_the_weights_and_the_activations_of_a_known_network(local, tmp_path, engine):
    """64 MiB of weights with little else, of which engines make up to five copies, and 64 MiB of activations."""
    weights, activations = pointwise(4096, inputs=4096, size=1), pointwise(256, inputs=8, size=256)
    with open_board(local(engine=engine), tmp_path / "store") as board:
        found = board.memory([weights, activations], progress=False)
    assert 64 << 20 <= found[weights.key] < 6 * (64 << 20)
    assert 64 << 20 <= found[activations.key] < 4 * (64 << 20)  # no copy of the test's own
