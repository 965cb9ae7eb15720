"""The page docs/own_network.md, run: a network in a file, photos, a board behind ssh, and the network to deploy."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from hakd.cli import main
from hakd.commands.common import FINE
from hakd.data.folders import Tally
from hakd.data.image_files import read_images
from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.networks.stored import read_network
from hakd.records.checkpoint import read_checkpoint
from tests.bare import run_bare
from tests.boards.rigs.needs import Unavailable
from tests.boards.rigs.sshd import Sshd
from tests.workflow.study import ROOT, Study

CLASSES, COUNT = ("blue", "green", "red"), 40
QUICK = {"rounds": 3, "burst_ms": 0.3, "min_step": 1}


def blocks() -> dict[str, str]:
    """The files of the page, by their names."""
    page = (ROOT / "docs" / "own_network.md").read_text()
    found = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in found] == ["nets.py", "own.yaml"]
    return dict(found)


def photos(folder: Path) -> None:
    """Noise in which one colour is a little stronger: few epochs tell them apart."""
    random = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(COUNT):
            image = random.integers(0, 200, (20, 30, 3))
            image[..., 2 - number] += 55
            Image.fromarray(image.astype(np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A board on the loopback address."""
    board = Sshd(tmp_path_factory.mktemp("board"))
    try:
        yield board.start()
    except Unavailable as why:
        told = f"{why}. On Debian, as root: make system-deps"
        (pytest.fail if os.environ.get("HAKD_REQUIRE_SYSTEM") == "1" else pytest.skip)(told)
    finally:
        board.stop()


def page(folder: Path, **networks: dict) -> Study:
    """The page's files in a folder, with a study that is shorter than its own."""
    files = blocks()
    folder.mkdir()
    photos(folder / "photos")
    (folder / "nets.py").write_text(files["nets.py"])
    study = Study(folder)
    study.config = yaml.safe_load(files["own.yaml"])
    study.config["data"]["root"] = "photos"
    study.config["run"] |= {"levels": [0.6], "seeds": [0], "methods": ["teacher", "fisher", "hakd"]}
    study.config |= {"teacher": {"epochs": 2}, "prune": {"channels": 16, "steps": 2}}
    study.config["students"] = {"epochs": 1, "recipes": {"fisher": ["tuned/ce"], "hakd": ["tuned/ce"]}}
    study.config["networks"] |= networks
    return study


@pytest.fixture(scope="module")
def done(board: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study of the page, finished."""
    study = page(tmp_path_factory.mktemp("own") / "study")
    study.config["devices"] = {
        "pi4": board.device(python=board.wrapper(f'exec {sys.executable} "$@"'), **QUICK)
    }
    study.jobs = study.run()
    return study


def test_the_page_ends_with_the_logits_of_the_network(done, monkeypatch):
    assert done.jobs["network"] == 1 and (done.directory / "results" / "pareto.pdf").is_file()
    monkeypatch.chdir(done.directory)
    summary = pd.read_csv("results/summary.csv")
    assert set(summary["method"]) == {"teacher", "fisher", "hakd"}
    assert dict(zip(summary["method"], summary["recipe"], strict=True))["teacher"] == "scratch"
    text = (ROOT / "docs" / "own_network.md").read_text()
    (command,) = re.findall(r"^    hakd (best .+)$", text, re.MULTILINE)
    command = command.replace("ms 5", "ms 5000")  # this machine may be busier than the page's board
    assert main(command.split()) == FINE
    card = json.loads(Path("best/pi4/card.json").read_text())
    assert card["val_accuracy"] == summary["val_accuracy"].max() and card["input"]["channels"] == "RGB"
    photo = done.directory / "photos" / "red" / "3.png"
    folder, code = (
        Path("best/pi4").absolute(),
        "import predict as p, sys; print(p.logits(p.photo(sys.argv[1])).tolist())",
    )
    found = json.loads(run_bare(folder, "-c", code, str(photo)))
    (row,) = summary[summary["candidate"] == card["candidate"]].itertuples()
    stored = read_network(row.checkpoint_path)
    network = network_with(build_graph(stored.architecture), stored.weights).eval()
    images = read_images([photo], 32, Tally()).astype(np.float32)
    mean, std = (np.array(stored.facts["images"][key], np.float32)[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        (logits,) = network(torch.from_numpy((images - mean) / std)).numpy()
    np.testing.assert_allclose(found, logits, atol=1e-4 * max(1, np.abs(logits).max()))
    assert run_bare(folder, "predict.py", str(photo)) == f"{CLASSES[logits.argmax()]}\n"


def test_what_a_change_of_the_module_touches(done, tmp_path):
    copied = tmp_path / "study"
    shutil.copytree(done.directory, copied, symlinks=True, copy_function=shutil.copy2)
    study = Study(copied)
    study.config = done.config
    assert study.planned() == {}
    source = (copied / "nets.py").read_text()
    (copied / "nets.py").write_text(
        source.replace("conv(48, 64)", "conv(48, 40)").replace("64 * 4", "40 * 4")
    )
    jobs = study.planned("results/mine/fisher/0.6.safetensors")
    assert jobs == {"network": 1, "teacher": 1, "prune": 1}
    before = read_checkpoint(copied / "results/mine/network.safetensors").architecture.arch
    study.run("results/mine/network.safetensors")
    assert read_checkpoint(copied / "results/mine/network.safetensors").architecture.arch != before


def test_what_a_change_of_the_images_touches(done, tmp_path):
    study = Study(tmp_path / "study")
    shutil.copytree(done.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config = copy.deepcopy(done.config)
    study.config["data"]["root"] = "moved"
    photos = (study.directory / "photos").rename(study.directory / "moved")
    for path in photos.rglob("*.png"):
        os.utime(path)
    assert study.planned() == {}
    with Image.open(photos / "red" / "3.png") as image:
        image.transpose(Image.Transpose.ROTATE_180).save(photos / "red" / "3.png")
    jobs = study.planned()
    once = (
        "data",
        "network",
        "teacher",
        "prune",
        "widths",
        "sweep",
        "snap",
        "candidates",
        "benchmark",
        "score",
    )
    assert {rule: jobs[rule] for rule in once} == dict.fromkeys(once, 1)  # students follow the choice


def test_weights_make_a_teacher_that_is_not_trained(tmp_path):
    """A state dict for the photos' classes, one for others, and a level that cannot be reached."""
    networks = {
        "own": {"module": "nets:three", "weights": "three.pth"},
        "other": {"module": "nets:net", "weights": "own"},
    }
    study = page(tmp_path / "study", **networks)
    with open(study.directory / "nets.py", "a") as stream:
        stream.write("\n\ndef three():\n    return Net(classes=3)\n")
    code = "import nets, torch; torch.manual_seed(3); torch.save(nets.three().state_dict(), 'three.pth')"
    subprocess.run([sys.executable, "-c", code], cwd=study.directory, check=True)
    study.config["run"] |= {"networks": ["own", "other"], "seeds": [0, 1], "devices": ["here"]}
    study.config["devices"] = {"here": {"transport": "virtual", "cost_model": {}}}
    study.config["students"]["tuned_lr"] = 0.01
    files = [f"results/{name}/teacher/0.safetensors" for name in ("own", "other")]
    assert study.run(*files) == {"data": 1, "network": 2, "teacher": 2}
    own, other = (read_checkpoint(study.directory / path).facts for path in files)
    assert own["recipe"] == other["recipe"] == "pretrained"
    assert (own["train_images"], other["epochs"]) == (0, 2) and other["train_images"] > 0
    weights = read_checkpoint(study.directory / files[0]).weights
    state = torch.load(study.directory / "three.pth", weights_only=True)
    assert all((value == state[name].numpy()).all() for name, value in weights.items())
    assert "its head classifier.3 gives 10 values: replaced by one for 3 classes" in study.output
    saved = (study.directory / "three.pth").read_bytes()
    os.utime(study.directory / "three.pth")
    assert study.planned(*files) == {}
    subprocess.run(
        [sys.executable, "-c", code.replace("seed(3)", "seed(4)")], cwd=study.directory, check=True
    )
    assert study.planned(*files) == {"network": 1, "teacher": 1}
    (study.directory / "three.pth").write_bytes(saved)
    teachers = {job.wildcards["seed"] for job in study.plan() if job.rule == "teacher"}
    assert teachers <= {"0"}
    study.config["run"]["levels"] = [0.001]
    failed = study.snakemake("results/own/fisher/0.001.safetensors")
    assert failed.returncode == 1 and "Traceback" not in failed.stdout
    assert re.search(r"error: config: run\.levels: 0\.001 cannot be reached by own: with one", failed.stdout)
