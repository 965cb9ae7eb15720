"""The folder that `hakd best` writes: for every engine, its loader gives the study's logits where hakd is not."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hakd.cli import main
from hakd.commands.common import FINDING, FINE
from hakd.data.folders import Tally
from hakd.data.image_files import read_images
from hakd.data.split import Split, resize
from hakd.data.stored import Augmentation, Stored
from hakd.evaluation.export import export, session, with_input
from hakd.evaluation.loaders import predict_text
from hakd.networks.families import build_graph, network_spec
from hakd.networks.module import new_network, weights_of
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.folders import atomic_folder
from hakd.records.tables import write_table
from hakd.training.students import probe_logits
from tests.bare import run_bare
from tests.unit.builders import narrowed, shaken
from tests.unit.table_rows import SUMMARY_ROW

SIDE, INPUT, CLASSES = 24, (16, 20), ("red", "grün")
ENGINES = {"onnxruntime": 1, "litert": 2, "ncnn": 1, "openvino": 2}  # batch of its device
ONNX = "results/m/students/ab/tuned-0.onnx"
# The loader in a process of its own: logits of an array, then of a photo; Pillow only for the latter.
CALLS = """
import sys, numpy as np, predict
arrays = np.stack([predict.logits(image) for image in np.load(sys.argv[1])])
assert "PIL" not in sys.modules
pixels = predict.photo(sys.argv[2])
np.savez(sys.argv[3], arrays=arrays, photo=predict.logits(pixels), pixels=pixels)
"""


@dataclass
class Study:
    """A finished study's folder, with one network; the images of its data set are larger than its input."""

    folder: Path
    images: np.ndarray  # uint8 (N, 3, SIDE, SIDE)
    split: Split

    def pixels(self) -> np.ndarray:
        """The images at the size of the input, not normalised."""
        return resize(torch.from_numpy(self.images), INPUT).numpy()

    def logits(self) -> np.ndarray:
        """What the study's own session gives for the study's own input."""
        content = (self.folder / ONNX).read_bytes()
        return session(content).run(None, {"input": self.split.images.numpy()})[0]


def summary_row(arch: str, engine: str) -> dict:
    row = {
        **SUMMARY_ROW,
        "network": "m",
        "device": engine,
        "engine": f"{engine} 1.2.3",
        "target_device": None,
    }
    return row | {
        "arch": arch,
        "onnx_path": ONNX,
        "candidate": "m/0.5/joint",
        "method": "joint",
        "budget": None,
    }


def stored(images: np.ndarray) -> Stored:
    count = len(images)
    constants = ((120.5, 99.25, 80.125), (60.5, 55.75, 70.25))
    return Stored(
        "imagefolder", "validation", images, np.arange(count) % 2, np.arange(count), CLASSES, *constants,
        Augmentation(), 0, "d",
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With a summary of a device for each engine, and photos: one that the camera turned, one of 16 bits."""
    folder = tmp_path_factory.mktemp("study")
    random = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random.integers(0, 256, (40, 61, 3), np.uint8)).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(random.integers(0, 65536, (30, 25)).astype(np.uint16)).save(folder / "grey.png")
    images = read_images([folder / "turned.jpg", folder / "grey.png"], SIDE, Tally())
    split = Split(stored(images), INPUT, torch.device("cpu"))
    spec = network_spec("mobilenet", {"multiplier": 0.125, "input_size": INPUT}, 3, len(CLASSES))
    architecture = Architecture(spec, narrowed(spec, 3))
    weights = weights_of(shaken(new_network(build_graph(architecture), 1)))
    facts = with_input({"images": split.about(), "val_accuracy": SUMMARY_ROW["val_accuracy"]}, spec, SIDE)
    expected = probe_logits(build_graph(architecture), weights)
    export(folder / ONNX, architecture, weights, expected, facts, {})
    for engine, batch in ENGINES.items():
        about = {"device": {"name": engine, "engine": engine, "threads": 1, "batch": batch}}
        path = folder / "results" / "devices" / engine / "summary.parquet"
        write_table(path, "summary", pd.DataFrame([summary_row(architecture.arch, engine)]), about)
    return Study(folder, images, split)


def best(*words: str) -> list[str]:
    return ["best", "--max-latency-ms", "0.5", *words]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_loader_gives_the_studys_logits_with_numpy_and_its_engine_alone(
    engine, study, tmp_path, monkeypatch
):
    monkeypatch.chdir(study.folder)
    folder = tmp_path / "out"
    assert main(best("--device", engine, "--out", str(folder))) == FINE
    np.save(tmp_path / "pixels.npy", study.pixels())
    others = {"ai_edge_litert" if name == "litert" else name for name in ENGINES if name != engine}
    for number, photo in enumerate(("turned.jpg", "grey.png")):
        words = [str(tmp_path / "pixels.npy"), str(study.folder / photo), str(tmp_path / "out.npz")]
        run_bare(folder, "-c", CALLS, *words, lacking=tuple(others))
        found, expected = np.load(tmp_path / "out.npz"), study.logits()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found["arrays"], expected, atol=1e-4 * scale, rtol=0)
        if engine == "onnxruntime":
            assert np.array_equal(found["arrays"], expected)
        np.testing.assert_allclose(found["pixels"], study.pixels()[number], atol=1e-3)
        np.testing.assert_allclose(found["photo"], expected[number], atol=1e-3 * scale, rtol=0)
        if engine != "onnxruntime":
            break
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*json.loads((folder / "card.json").read_text())["files"], "card.json", "predict.py"]
    )
    assert (folder / "model.onnx").read_bytes() == Path(ONNX).read_bytes()


def test_the_loader_names_the_class_of_a_photo_and_the_card_holds_the_figures(
    study, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "best" / "onnxruntime"
    assert main(best("--device", "onnxruntime", "--results", str(study.folder / "results"), "--json")) == FINE
    said, card = json.loads(capsys.readouterr().out), json.loads((folder / "card.json").read_text())
    assert card == {**card, **{key: value for key, value in said.items() if key != "folder"}}
    row = summary_row(card["arch"], "onnxruntime")
    assert {key: row[key] for key in row.keys() & card.keys() - {"engine"}} == {
        key: card[key] for key in row.keys() & card.keys() - {"engine"}
    }
    assert (card["engine"], card["engine_version"], card["batch"]) == ("onnxruntime", "1.2.3", 1)
    assert card["input"] == {
        "size": [16, 20], "stored_size": [SIDE, SIDE], "channels": "RGB", "layout": "NCHW", "dtype": "float32",
        "pixels": [0, 255], **study.split.about(),
    }  # fmt: skip
    assert (tmp_path / said["folder"]).samefile(folder) and sum(card["widths"].values()) > 0
    said = run_bare(folder, "-X", "utf8", "predict.py", str(study.folder / "turned.jpg"))
    assert said == f"{CLASSES[study.logits()[0].argmax()]}\n"


def test_the_loader_takes_the_package_of_litert_that_the_board_has():
    assert "from tflite_runtime.interpreter import" in predict_text("litert", "tflite_runtime 2.14.0")
    with pytest.raises(HakdError, match=r"no predict\.py"):
        predict_text("other", "1")


def test_a_file_that_is_not_that_of_the_summary_is_refused(study, tmp_path, monkeypatch, capsys):
    """Another network, no file, an export that does not say what its input is."""
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    arch = pd.read_parquet(study.folder / "results/devices/ncnn/summary.parquet")["arch"].iloc[0]

    def refusal(**changes: object) -> str:
        about = {"devices": {"ncnn": {"device": {"name": "ncnn", "batch": 1}}}}
        rows = pd.DataFrame([{**summary_row(arch, "ncnn"), **changes}])
        write_table("results/summary.parquet", "summary", rows, about)
        assert main(best("--device", "ncnn")) == FINDING
        assert not Path("best").exists() or not any(Path("best").iterdir())
        return capsys.readouterr().err

    assert f"{ONNX}: no such file. Run the study's command with `-R {ONNX}` at its end" in refusal()
    Path(ONNX).parent.mkdir(parents=True)
    Path(ONNX).write_bytes((study.folder / ONNX).read_bytes())
    assert "ncnn: no folder can be made for the engine csr. Choose for a device" in refusal(engine="csr 1")
    assert "not the network that the summary calls m/0.5/joint" in refusal(val_accuracy=0.5)
    spec = network_spec("mobilenet", {"multiplier": 0.125, "input_size": 8}, 1, 10)
    architecture = Architecture(spec, narrowed(spec))
    weights = weights_of(new_network(build_graph(architecture), 1))
    facts = {"images": study.split.about(), "val_accuracy": 0.5}
    export(ONNX, architecture, weights, probe_logits(build_graph(architecture), weights), facts, {})
    assert "size: of an older version" in refusal(val_accuracy=0.5, arch=architecture.arch)


def test_an_unknown_device_and_no_study_are_one_line(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(study.folder)
    assert main(best("--device", "litrt")) == FINDING
    assert "results: litrt: no results of this device. Did you mean 'litert'?" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(best("--device", "litert")) == FINDING
    assert "Run the study, or give its folder: --results FOLDER" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_whole_or_not_at_all_and_other_files_are_kept(tmp_path):
    folder = tmp_path / "made"
    for content in ("one", "two"):
        with atomic_folder(folder, {"a"}) as made:
            (made / "a").write_text(content)
    assert [path.name for path in tmp_path.iterdir()] == ["made"] and (folder / "a").read_text() == "two"

    def stop() -> None:
        with atomic_folder(folder, {"a"}) as made:
            (made / "a").write_text("three")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    with (
        pytest.raises(HakdError, match=r"made: cannot write \(No such file"),
        atomic_folder(folder, {"a"}) as made,
    ):
        (made / "below" / "a").write_text("four")
    assert [path.name for path in tmp_path.iterdir()] == ["made"] and (folder / "a").read_text() == "two"
    (folder / "photo.jpg").touch()
    with (
        pytest.raises(HakdError, match=r"holds photo\.jpg, which would be lost"),
        atomic_folder(folder, {"a"}),
    ):
        raise AssertionError
    with pytest.raises(HakdError, match="is a file"), atomic_folder(folder / "a", {"a"}):
        raise AssertionError
    assert (folder / "photo.jpg").exists() and (folder / "a").read_text() == "two"
