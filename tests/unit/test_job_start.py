"""What jobs load: a study starts many short ones, and a package that is not needed costs each of them."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from hakd.training.optimiser import SGD

ROOT = Path(__file__).resolve().parents[2]
# Loads scripts in turn in one process, then does `work`; names the first after which a refused package is loaded.
PROBE = """
import json, runpy, sys
jobs, work = json.loads(sys.argv[1])
for script, refused in jobs:
    runpy.run_path(f"workflow/scripts/{script}.py")
    if loaded := [name for name in refused if name in sys.modules]:
        sys.exit(f"{script} loads {loaded}")
exec(work)
print(json.dumps([name for name in refused if name in sys.modules]))
"""
TRAIN = """
from hakd.networks.families import full_architecture
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_candidate
from tests.unit.builders import SPECS, TensorData
job = TrainingJob(sys.argv[2] + "/a", 2, Recipe(batch_size=32), 0, metrics_path=sys.argv[2] + "/a.csv")
train_candidate(full_architecture(SPECS["densenet"]()), TensorData(), job)
"""
HEAVY = ["matplotlib", "onnxruntime", "pandas", "scipy", "sklearn", "torch._dynamo", "torchvision"]
TRAINING = ("deep_compression", "weight_pruning", "ternary", "teacher", "student")
LISTS = ("baseline_candidates", "baselines", "candidates", "fleet_candidates")
WIDTHS = ("baseline_widths", "data", "widths")


def loaded(jobs: list[tuple[str, list[str]]], work: str, folder: Path) -> list[str]:
    """What a fresh process has loaded after all of it, of what the last script is refused."""
    command = [sys.executable, "-c", PROBE, json.dumps([jobs, work]), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_training_loads_torch_without_its_compiler_and_no_tables(tmp_path):
    jobs = [(name, ["onnx", "torch", *HEAVY]) for name in WIDTHS]
    jobs += [(name, ["onnx", *HEAVY]) for name in TRAINING]
    assert loaded(jobs, TRAIN, tmp_path) == []
    assert (tmp_path / "a.csv").read_text().startswith("epoch,lr,train_loss,val_accuracy,images,seconds\n1,")


def test_exports_and_lists_of_candidates_load_neither_torch_nor_tables(tmp_path):
    jobs = [(name, ["torch", *HEAVY]) for name in LISTS]
    heavy = ["torch", *(name for name in HEAVY if name != "onnxruntime")]
    assert loaded([*jobs, ("export", heavy), ("decode", heavy)], "", tmp_path) == []


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_the_one_of_torch(nesterov):
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": nesterov}
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    mine, plain = SGD(ours.parameters(), **settings), torch.optim.SGD(theirs.parameters(), **settings)
    for step in range(6):
        images = torch.randn(4, 3)
        for layer, optimiser in ((ours, mine), (theirs, plain)):
            optimiser.param_groups[0]["lr"] = 0.1 / (step + 1)
            optimiser.zero_grad(set_to_none=True)
            layer(images).square().sum().backward()
            optimiser.step()
        if step == 2:  # as a job that was killed goes on
            state, mine = deepcopy(plain.state_dict()), SGD(ours.parameters(), **settings)
            mine.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert (
        ours.weight.requires_grad and mine.state_dict()["param_groups"] == plain.state_dict()["param_groups"]
    )
    buffers = [list(one.state_dict()["state"].values()) for one in (mine, plain)]
    assert all(torch.equal(a["momentum_buffer"], b["momentum_buffer"]) for a, b in zip(*buffers, strict=True))
