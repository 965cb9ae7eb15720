"""Training that diverges: the error of each rule's script names the key that sets its learning rate."""

import contextlib
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hakd.data import prepare
from hakd.networks.families import build_graph, full_architecture
from hakd.networks.module import new_network, weights_of
from hakd.pruning.trajectory import write_trajectory
from hakd.records.checkpoint import read_checkpoint, write_checkpoint
from hakd.records.errors import HakdError
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_lap
from tests.unit.builders import SPECS, TensorData

ROOT = Path(__file__).resolve().parents[2]


class Params(SimpleNamespace):
    """The params of a rule, by attribute and by key."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


def lr_key(rule: str) -> str:
    """The key of the configuration that a rule's learning rate comes from."""
    texts = [path.read_text() for path in (ROOT / "rules").glob("*.smk")]
    (text,) = [
        part for text in texts for part in re.findall(rf"^rule {rule}:\n(?:    .*\n|\n)+", text, re.MULTILINE)
    ]
    settings = dict(re.findall(r'(\w+)=setting\("([^"]+)"\)', text))
    return f"{settings['recipe']}/lr".replace("/", ".")


def run(
    rule: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Mapping[str, Any],
    start: str = "scratch",
) -> None:
    """Run a rule's script on the digits and an untrained teacher."""
    spec = SPECS["densenet"]()
    prepare({"name": "digits"}, folder)
    architecture = full_architecture(spec)
    weights = weights_of(new_network(build_graph(architecture), 0))
    kept = {group: list(range(width)) for group, width in architecture.widths.items()}
    facts = {"prune_images": 1, "prune_macs": 1, "kept": kept}
    write_checkpoint(folder / "teacher", architecture, weights, facts)
    write_trajectory(folder / "trajectory", [])
    given = ("train.npz", "validation.npz", "teacher", "trajectory")
    files = {Path(name).stem: folder / name for name in given}
    files |= dict.fromkeys(("pruned", "trained"), folder / "teacher")
    made = dict.fromkeys(("checkpoint", "metrics", "compressed", "facts"), folder / "made")
    recipe = {"lr": 1e30, "batch_size": 32}
    settings = {"family": "densenet", "depth": 16, "growth": 4, "input_size": 8}
    common = {
        "tuned_lr": None,
        "recipe": recipe,
        "epochs": 2,
        "device": "cpu",
        "network": settings,
        "widths": architecture.widths,
    }
    snakemake = SimpleNamespace(
        wildcards=SimpleNamespace(
            network="n", seed="0", compressed="deep_compression/0.5", recipe=start, loss="ce"
        ),
        input=SimpleNamespace(network=[], **files),
        output=SimpleNamespace(**made),
        params=Params(**common, **params),
        log="log",
        threads=1,
    )
    monkeypatch.setattr("hakd.study.scripting.reporting", lambda *_: contextlib.nullcontext())
    script = ROOT / "workflow" / "scripts" / f"{rule}.py"
    runpy.run_path(str(script), {"snakemake": snakemake}, "__main__")


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("teacher", {}),
        ("student", {"loss": {}}),
        ("deep_compression", {"density": 0.5, "settings": {"rounds": 1, "epochs": 1}}),
        ("weight_pruning", {"density": 0.5, "settings": {"rounds": 1, "epochs": 1}}),
        ("ternary", {"settings": {"epochs": 1}}),
    ],
)
def test_a_diverging_rule_names_the_key_of_its_learning_rate(rule, params, tmp_path, monkeypatch):
    with pytest.raises(HakdError, match="training diverged") as caught:
        run(rule, tmp_path, monkeypatch, params)
    assert str(caught.value).endswith(f". Lower `{lr_key(rule)}` in the configuration")
    assert not (tmp_path / "made").exists()


def test_a_diverging_contestant_loses_its_lap_and_nothing_else(tmp_path, caplog):
    architecture, path = full_architecture(SPECS["densenet"]()), tmp_path / "lap.safetensors"
    start = weights_of(new_network(build_graph(architecture), 0))
    recipe = Recipe(lr=1e30, batch_size=32)
    train_lap(architecture, TensorData(), TrainingJob(path, 0, recipe, 0, start=start, steps=8))
    lap = read_checkpoint(path)
    assert lap.facts["diverged"] and lap.facts["val_accuracy"] == 0 and lap.facts["train_images"] == 8 * 32
    assert all((lap.weights[name] == start[name]).all() for name in start)
    assert f"{architecture.arch} loses its lap: training diverged" in caplog.text
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("recipe", "key"), [("tuned", "students.tuned_lr"), ("scratch_b", "students.recipe.lr")]
)
def test_inherited_and_random_weights_name_the_key_of_theirs(recipe, key, tmp_path, monkeypatch):
    with pytest.raises(HakdError, match="training diverged") as caught:
        run("tuned", tmp_path, monkeypatch, {"lr": 1e30, "loss": {}}, recipe)
    assert str(caught.value).endswith(f". Lower `{key}` in the configuration")
