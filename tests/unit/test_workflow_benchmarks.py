"""What the benchmarks of the workflow count and make, without running a study."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import kills, scale
from benchmarks.plugins import snakemake_executor_plugin_recorded as recorded
from hakd.networks.families import full_architecture
from hakd.records.arch import read_architecture
from hakd.records.checkpoint import write_checkpoint
from hakd.records.errors import HakdError
from hakd.records.files import read_json, write_json
from hakd.study.files import Configuration
from hakd.study.schema import checked_study
from tests.unit.builders import SPECS


def test_a_generated_study_is_valid_and_has_networks_and_devices_of_all_kinds():
    config = checked_study(Configuration({**scale.configuration(50, 12), "data": {"name": "digits"}}, "made"))
    assert len(config["run"]["devices"]) == 50 and len(config["run"]["networks"]) == 12
    assert {entry["family"] for entry in config["networks"].values()} == {
        entry["family"] for entry in scale.FAMILIES
    }
    models = [json.dumps(entry["cost_model"], sort_keys=True) for entry in config["devices"].values()]
    networks = [json.dumps(entry, sort_keys=True) for entry in config["networks"].values()]
    assert len({*models}) == 50 and len({*networks}) == 12


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a recorded study with a choice and a student; the working directory is another one."""
    folder, study = tmp_path / "template", tmp_path / "study"
    entry = full_architecture(SPECS["densenet"]()).to_dict() | {"macs": 7}
    write_json(
        folder / "results/tiny/snap/0.8/model.json", "snap", {"methods": {"hakd": entry, "joint": entry}}
    )
    student = folder / "results/tiny/students/0123456789ab/distilled-logits-0.csv"
    student.parent.mkdir(parents=True)
    student.write_text("epoch\n1\n")
    study.mkdir()
    monkeypatch.setenv(recorded.RECORDED, str(folder))
    monkeypatch.chdir(study)
    recorded.recorded.cache_clear()
    return folder


def test_recorded_choices_differ_between_networks_and_devices_and_are_readable(template):
    pattern = "results/{network,net0|net1}/{search,(search[0-9]+/)?}snap/{level,[0-9.]+}/{device}.json"
    archs = set()
    for network in ("net0", "net1"):
        for device in ("dev0", "dev1"):
            path = Path(f"results/{network}/snap/0.8/{device}.json")
            names = {"network": network, "device": device, "level": "0.8", "search": ""}
            recorded.make(path, pattern, "snap", names)
            entries = read_json(path, "snap")["methods"].values()
            (arch,) = {entry["arch"] for entry in entries}  # choices that are alike stay so
            assert read_architecture(f"results/architectures/{arch}.json").spec.name == network
            assert all(entry["macs"] == 7 for entry in entries)
            archs.add(arch)
    assert len(archs) == 4


def test_other_recorded_files_are_copies_and_a_file_that_is_missing_is_named(template):
    pattern = "results/{network}/students/{arch,[0-9a-f]{12}}/{recipe}-{loss}-{seed,[0-9]+}.csv"
    path = Path("results/net1/students/ffffffffffff/tuned-ce-0.csv")
    recorded.make(path, pattern, "student", {})
    assert path.read_text() == "epoch\n1\n"
    with pytest.raises(HakdError, match=r"no file like results/\{network\}\.pdf"):
        recorded.make(Path("results/net1.pdf"), "results/{network}.pdf", "pareto", {})


def test_work_that_was_done_again_is_counted():
    went_on = [{"first": 3, "kept": 5}, {"first": None, "kept": 5}, {"first": 6, "kept": 9}]
    assert kills.repeated(went_on) == 0
    assert kills.repeated([*went_on, {"first": 1, "kept": 2}, {"first": 2, "kept": 2}]) == 2


def test_a_burst_that_was_measured_twice_is_counted(tmp_path):
    burst = {"type": "burst", "purpose": "sweep", "key": "a", "slot": 0, "round": 1, "reference": False}
    for name, records in {
        "one/a.jsonl": [burst, {**burst, "round": 2}, {"type": "session"}],
        "one/b.jsonl": [burst, {**burst, "purpose": "benchmark"}, {**burst, "reference": True}],
        "other/c.jsonl": [burst],
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    assert kills.doubled(tmp_path) == 1
    assert kills.progress(tmp_path) == 6 and kills.size_or_time(tmp_path) > 0
    assert kills.progress(tmp_path / "none") is None and kills.size_or_time(tmp_path / "none") == 0


def test_other_weights_removals_and_accuracies_are_named(tmp_path):
    architecture = full_architecture(SPECS["densenet"]())
    for name in ("one", "other"):
        folder = tmp_path / name / "results" / "tiny"
        for seed, value in {"0": 1.0, "1": 2.0 if name == "other" else 1.0}.items():
            weights = {"stem.weight": np.full(3, value, np.float32)}
            write_checkpoint(folder / "teacher" / f"{seed}.safetensors", architecture, weights, {})
        (folder / "fisher").mkdir()
        (folder / "fisher" / "0.8.csv").write_text("# about\nremoval,group\n0,a\n")
        accuracy = 0.5 if name == "one" else 0.25
        columns = "candidate,arch,val_accuracy,accuracy,latency_ms,commit"
        text = f"# about\n{columns}\na,b,0.5,{accuracy},1,{name}\n"
        (folder.parent / "summary.csv").write_text(text)
    found = kills.differences(tmp_path / "one", tmp_path / "other")
    assert found == ["results/tiny/teacher/1.safetensors", "results/summary.csv"]
    assert kills.differences(tmp_path / "one", tmp_path / "one") == []


def test_kills_are_made_in_turn_until_all_are_there_and_the_table_sums_them_up(tmp_path):
    soak = kills.Soak(tmp_path / "out", kills=1, seed=0, minutes=0)
    assert soak.wanted("sweep") == ["snakemake", "job"]
    soak.note("kill", "sweep", killed="snakemake", episode=0, first=None, kept=None, left=1)
    assert soak.wanted("sweep") == ["job"]
    sums = {"commands": 3, "twice": ["sweep a"], "repeated": 0, "doubled": 2, "left": 1, "planned": {}}
    soak.note("episode", "sweep", number=0, **sums, differs=[])
    again = kills.Soak(tmp_path / "out", kills=1, seed=0, minutes=0)
    assert again.wanted("sweep") == ["job"]
    assert "| sweep | snakemake | 1 | 0 | 3 | 1 | 0 | 2 | 1 | 0 |\n" in again.table()


def test_the_end_of_a_process_is_seen():
    own = kills.psutil.Process(os.getpid())
    assert kills.alive(own) and isinstance(kills.offspring(own), list)
    gone = kills.psutil.Popen(["true"])
    gone.wait()
    assert not kills.alive(gone) and kills.offspring(gone) == []
    assert kills.started(SimpleNamespace(poll=lambda: 0), "teacher") is None
