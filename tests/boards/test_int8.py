"""Devices in int8 in a real session: parts and candidates are quantised, timed and checked."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hakd.boards import open_board
from hakd.data.split import Split
from hakd.data.stored import Augmentation, Stored
from hakd.evaluation.benchmark import candidate_point
from hakd.evaluation.deploying import _models
from hakd.evaluation.quantising import predictions, quantise
from hakd.networks.engine_model import engine_model
from hakd.networks.families import full_architecture
from hakd.networks.int8_files import int8_header
from hakd.networks.onnx_model import stand_in_weights
from hakd.records.errors import HakdError
from hakd.study.precisions import FORMS
from hakd.sweeping.parts import engine_graph, network_point, point
from tests.boards.points import QUICK
from tests.unit.builders import exported, small_densenet, small_mobilenet

SPEC = small_densenet()


@pytest.mark.parametrize("engine", sorted(FORMS))
def test_a_device_in_int8_times_parts_and_checks_them(local, tmp_path, engine):
    device = local(engine=engine, precision="int8")
    graph = engine_graph(full_architecture(small_mobilenet(16)))
    points = [point(tile, name, device) for name, tile in graph.tiles().items()]
    points.append(network_point(full_architecture(SPEC), device))
    tile = list(graph.tiles().values())[1]
    weights = stand_in_weights(tile)
    last = [name for name in weights if name.endswith(".weight")][-1]
    weights[last] = -weights[last]
    model = engine_model(engine, tile, weights, precision="int8")
    wrong = replace(points[1], key="wrong", model=lambda: model)
    with open_board(device, tmp_path / "store") as board:
        found = board.measure([*points, wrong], QUICK, progress=False)
        assert found.keys() == {one.key for one in points} and board.context["precision"] == "int8"
        assert "wrong output: differs from the reference" in board.failures["wrong"]
        if engine == "onnxruntime":
            kinds = board.graphs(points[:1])[points[0].key]
            assert "com.microsoft:QLinearConv" in kinds and not any("FusedConv" in kind for kind in kinds)
    float32 = local(engine=engine)
    with open_board(float32, tmp_path / "store") as board:
        assert board.fingerprint != ""
        assert len(list((tmp_path / "store").iterdir())) == 1
        board.measure([point(tile, "tile", float32)], QUICK, progress=False)
    assert len(list((tmp_path / "store").iterdir())) == 2


def splits(count: int) -> SimpleNamespace:
    """Random images of two classes as train and validation."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    stored = Stored("digits", "train", images, np.arange(count) % 10, np.arange(count),
                    tuple(map(str, range(10))), (128.0,), (64.0,), Augmentation(), 0, "d")  # fmt: skip
    split = Split(stored, 8, torch.device("cpu"))
    return SimpleNamespace(train=split, validation=split)


@pytest.mark.parametrize("engine", sorted(FORMS))
def test_a_candidate_in_int8_is_the_file_that_is_timed(local, tmp_path, engine):
    path = tmp_path / "network.onnx"
    exported(path, SPEC, val_accuracy=0.5)
    quantised, data = Path(f"{tmp_path}/network{FORMS[engine]}"), splits(40)
    facts = quantise(path, data, 30, quantised)
    assert facts["int8"]["images"] == 30 and facts["int8"]["float32_val_accuracy"] == 0.5
    assert int8_header(quantised)["facts"] == facts
    images = data.validation.images.numpy()
    found = predictions(quantised, images)
    assert facts["val_accuracy"] == (found == data.validation.labels.numpy()).mean()
    assert (found == predictions(path, images)).mean() > 0.7
    again = tmp_path / f"again{FORMS[engine]}"
    quantise(path, data, 30, again)
    assert again.read_bytes() == quantised.read_bytes()
    entry = {
        "candidate": "one",
        "onnx_path": quantised,
        "onnx_digest": "abc",
        "network_spec": SPEC.to_dict(),
        "facts": facts,
    }
    device = local(engine=engine, precision="int8")
    with open_board(device, tmp_path / "store") as board:
        assert board.measure([candidate_point(entry, device)], QUICK, progress=False).keys() == {"onnx:abc"}
        assert board.failures == {}
    (content,) = _models(quantised, engine, 1).values()
    assert content == quantised.read_bytes()


def test_a_network_whose_layers_have_no_integer_kernel_is_refused():
    from hakd.evaluation.quantising import refuse_float_layers

    refuse_float_layers({"QLinearConv": 3, "com.microsoft:QGemm": 1, "HardSwish": 1}, "here")
    for kind in ("Conv", "com.microsoft:FusedConv", "com.microsoft.nchwc:Conv", "Gemm"):
        with pytest.raises(HakdError, match=rf"here: precision: .* in float32 \({kind}\)"):
            refuse_float_layers({"QLinearConv": 3, kind: 1}, "here")
