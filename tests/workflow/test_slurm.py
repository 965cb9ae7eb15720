"""The profile for Slurm, and a small study on a real Slurm that this machine runs for the test."""

import copy
import json
import re
import subprocess
import sys
from collections import Counter

import onnx
import pandas as pd
import pytest

from hakd.records.tables import read_table
from tests.boards.skipping import system_part
from tests.workflow.devices import MODELS, virtual
from tests.workflow.slurm import Slurm, plugin_environment
from tests.workflow.study import ROOT, Study

PROFILE = ["--profile", "profiles/slurm"]
QUICK = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
SUMMARY = "results/devices/comb/summary.parquet"
TARGETS = ["results/widths.pdf", "results/devices/comb/pareto.pdf"]
# Slurm jobs by what they run; the rest runs beside Snakemake.
SUBMITTED = {
    ("data",): 1, ("teacher",): 1, ("prune",): 1, ("widths",): 1, ("export",): 1,
    ("export", "student"): 2, ("export", "tuned"): 1,
    ("device_pareto", "device_summary", "score"): 1, ("summary", "widths_plot"): 1,
}  # fmt: skip
HERE = {"sweep": 1, "snap": 1, "baselines": 1, "candidates": 1, "benchmark": 1}
# Timed (virtual devices are noisy), or about the run; the size of a file depends on how long its training took.
MEASURED = re.compile(r"(_s|_ms|_path|_bytes)$|^(trusted|commit|config_hash)$")
PARSE = """
import json, sys
from snakemake.cli import parse_args
print(json.dumps(vars(parse_args(sys.argv[1:])[1]), default=lambda value: sorted(map(str, value))
      if isinstance(value, set) else str(getattr(value, "value", value))))
"""


def small(config: dict) -> dict:
    """Four networks, on a virtual device."""
    config = copy.deepcopy(config)
    config["devices"]["comb"] = virtual(MODELS["comb"])
    config["run"] |= {"devices": ["comb"], "methods": ["teacher", "fisher", "hakd", "uniform"]}
    config["students"]["losses"] = ["ce", "logits"]
    config["students"]["recipes"] = {"fisher": ["tuned/ce"], "hakd": ["distilled"], "uniform": ["scratch"]}
    return config | {"analysis": {"contrasts": []}}


def options(*arguments: str) -> dict:
    """What Snakemake's own parser makes of a command line in the checkout, profiles and all."""
    with system_part():
        environment = plugin_environment()
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *arguments], cwd=ROOT, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_profile_adds_to_the_default_one():
    default, slurm = options(), options(*PROFILE)
    assert (default["executor"], default["scheduler"], default["keep_going"]) == (None, "greedy", True)
    assert slurm["executor"] == "slurm"
    changed = {key for key in default if slurm[key] != default[key]}
    assert not changed & {"scheduler", "keep_going", "rerun_incomplete", "rerun_triggers", "show_failed_logs"}
    assert not changed & {"max_checksum_file_size", "resources", "targets"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_submitted_job_asks_for_memory_and_time_and_a_training_for_a_gpu_with_cuda(device, tmp_path):
    study = Study(tmp_path)
    with system_part():
        study.environment = plugin_environment()
    study.config["training"] = {"device": device}
    plan = study.plan(*PROFILE)
    asked = {job.rule: job.resources for job in plan}
    assert {"teacher", "prune", "deep_compression", "data", "score", "widths"} <= set(asked)
    trained = {rule for rule, resources in asked.items() if resources.get("runtime") == "480"}
    # Students are known once widths are chosen.
    assert trained == {"teacher", "prune", "deep_compression", "weight_pruning", "ternary"}
    assert {rule for rule, resources in asked.items() if resources.get("gpu") == "1"} == (
        trained if device == "cuda" else set()
    )
    assert all(int(resources["mem_mb"]) >= 2000 for resources in asked.values())


def test_a_study_by_slurm_gives_what_it_gives_on_this_machine(copied, tmp_path):
    study = Study(tmp_path / "by_slurm")
    study.directory.mkdir()
    study.config = copied.config = small(study.config)
    with system_part():
        cluster = Slurm(tmp_path / "slurm")
    with cluster:
        study.environment = cluster.environment
        ran = study.run(*TARGETS, *PROFILE, *QUICK)
        jobs = cluster.jobs()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    here = Counter({rule: ran[rule] for rule in HERE})
    submitted = Counter()
    for rules, count in SUBMITTED.items():
        submitted.update(dict.fromkeys(rules, count))
    assert here == HERE and ran - here == submitted and len(jobs) == sum(SUBMITTED.values())

    copied.run(*TARGETS)
    (one, _), (other, _) = (read_table(each.directory / SUMMARY, "summary") for each in (study, copied))
    columns = [name for name in one.columns if not MEASURED.search(name)]
    assert {"arch", "accuracy", "val_accuracy", "macs", "train_images"} <= set(columns)
    pd.testing.assert_frame_equal(one[columns], other[columns])
    for path in one["onnx_path"]:  # the same weights, to the bit
        networks = [onnx.load(each.directory / path).graph.SerializeToString() for each in (study, copied)]
        assert networks[0] == networks[1]
    assert one["latency_ms"].to_numpy() == pytest.approx(other["latency_ms"].to_numpy(), rel=0.05)
