"""`hakd best` on the finished smallest study: its folder holds the network that the study trained, timed and scored."""

import json

import numpy as np
import onnx
import pandas as pd
import pytest

from hakd.commands.common import FINDING, FINE
from hakd.evaluation.deploying import deploy, read_timed
from hakd.evaluation.export import session
from tests.bare import run_bare
from tests.unit.command import run

SCORE = """
import sys, numpy as np, predict
data = np.load(sys.argv[1])
np.save(sys.argv[2], np.stack([predict.logits(image) for image in data["images"]]))
"""


@pytest.fixture(scope="module")
def summary(finished) -> pd.DataFrame:
    return pd.read_csv(finished.directory / "results" / "summary.csv")


def check_logits(finished, folder, tmp_path, row) -> None:
    """On the validation images, without hakd: the logits of the study's session, and the accuracy of the summary."""
    data = finished.directory / "results" / "data" / "validation.npz"
    run_bare(folder, "-c", SCORE, str(data), str(tmp_path / "logits.npy"), lacking=("PIL",))
    found, images = np.load(tmp_path / "logits.npy"), np.load(data)
    about = json.loads((folder / "card.json").read_text())["input"]
    mean, std = (np.array(about[key], np.float32)[:, None, None] for key in ("mean", "std"))
    pixels = (images["images"].astype(np.float32) - mean) / std
    run_once = session((finished.directory / row.onnx_path).read_bytes())
    np.testing.assert_allclose(found, run_once.run(None, {"input": pixels})[0], atol=1e-5)
    right = (found.argmax(1) == images["labels"]).mean()
    assert right == pytest.approx(
        row.val_accuracy, abs=1.01 / len(found)
    )  # torch may round one image the other way


def test_what_is_copied_is_the_best_of_the_study_and_runs_without_it(finished, summary, tmp_path):
    folder = tmp_path / "best"
    done = run(
        *("best", "--device", "local", "--max-latency-ms", "1000", "--out", str(folder)),
        cwd=finished.directory,
    )
    assert done.returncode == FINE, done.stderr
    card = json.loads((folder / "card.json").read_text())
    (row,) = summary[summary["candidate"] == card["candidate"]].itertuples()
    assert row.val_accuracy == summary["val_accuracy"].max()  # one seed
    about = [
        card["device"],
        f"{card['engine']} {card['engine_version']}",
        card["latency_high_ms"],
        card["accuracy"],
    ]
    assert about == [row.device, row.engine, row.latency_high_ms, row.accuracy]
    assert done.stdout.splitlines()[-1] == f"Written: {folder} (model.onnx, card.json, predict.py)"
    check_logits(finished, folder, tmp_path, row)
    nothing = run("best", "--device", "local", "--max-latency-ms", "0.000001", cwd=finished.directory)
    assert nothing.returncode == FINDING and "the nearest is tiny " in nothing.stderr
    assert not (finished.directory / "best").exists()


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("deep_compression", "compressed"), ("ternary", "compressed"), ("fisher", "tuned_coded")],
)
def test_a_compressed_candidate_gives_its_decoded_network(method, recipe, finished, summary, tmp_path):
    (row,) = summary[(summary["method"] == method) & (summary["recipe"] == recipe)].itertuples()
    timed = read_timed(finished.directory / "results", "local")
    series = timed.frame[timed.frame["candidate"] == row.candidate].iloc[0]
    card = deploy(timed, series, {}, tmp_path / "coded")
    assert card["size_bytes"] == (finished.directory / row.checkpoint_path).stat().st_size
    assert card["files"]["model.onnx"] > card["size_bytes"]
    check_logits(finished, tmp_path / "coded", tmp_path, row)


def test_every_export_says_what_its_input_needs(finished, summary):
    for path in summary["onnx_path"].unique():
        (entry,) = onnx.load(finished.directory / path).metadata_props
        images = json.loads(entry.value)["facts"]["images"]
        assert (images["size"], images["stored_size"], images["pixels"]) == ([8, 8], [8, 8], [0, 255])
        assert (images["channels"], images["layout"], images["dtype"]) == ("grey", "NCHW", "float32")
        assert len(images["classes"]) == 10 and len(images["mean"]) == len(images["std"]) == 1


def test_the_card_has_the_certificates_of_its_choice(finished, tmp_path):
    table = pd.read_csv(finished.directory / "results" / "devices" / "local" / "certificates.csv")
    timed = read_timed(finished.directory / "results", "local")
    for method in ("joint", "race", "fisher"):
        row = timed.frame[timed.frame["method"] == method].iloc[0]
        card = deploy(timed, row, {}, tmp_path / "best")
        assert card["certificates"] == table.loc[table["method"] == method, "words"].tolist()
        assert bool(card["certificates"]) == (method != "fisher")
