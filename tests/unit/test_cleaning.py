"""Which files of results/ a configuration does not use any more, and that nothing else is ever removed."""

import copy
import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hakd.cli import FINDING, FINE, main
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.checkpoint import write_checkpoint
from hakd.records.code import CHECKOUT
from hakd.records.files import write_json
from hakd.study.cleaning import remove, unused
from hakd.study.configuration import config_digest
from hakd.study.files import read_configuration
from hakd.study.kept import keep_configuration
from hakd.study.levels import note_source
from hakd.study.result_paths import parts_of
from hakd.study.schema import checked_study

SMOKE = CHECKOUT / "config" / "smoke.yaml"
FULL, WIDE, LONE, GONE = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc", "dddddddddddd"  # architectures
TINY = "results/tiny"
USED = [
    f"{TINY}/teacher/0.safetensors",
    f"{TINY}/teacher/0.csv",
    f"{TINY}/fisher/0.8.state",
    f"{TINY}/fisher/0.32.csv",  # as deep as tables need
    f"{TINY}/random_order/0.8.safetensors",
    f"{TINY}/latency/local.parquet",
    f"{TINY}/race/0.8/{WIDE}-1.safetensors",
    f"{TINY}/deep_compression/0.5-0.hakdc",
    f"{TINY}/deep_compression/0.5-0.json",
    f"{TINY}/weight_pruning/0.5-0.hakdc",
    f"{TINY}/ternary/1-0.hakdc",
    f"{TINY}/students/{FULL}/tuned_ternary-fisher-0.8-ce-0.hakdc",
    f"{TINY}/students/{FULL}/tuned-fisher-0.8-ce-0.onnx",
    f"{TINY}/students/{FULL}/tuned_coded-fisher-0.8-ce-0.hakdc",
    f"{TINY}/students/{WIDE}/distilled-at-0.safetensors",
    f"{TINY}/students/{LONE}/tuned-random_order-0.8-ce-0.safetensors",
    f"results/architectures/{FULL}.json",
    "results/candidates/tiny/0.8/local.json",
    "results/candidates/tiny/0.8/methods/copycat.json",
    "results/candidates/tiny/baselines.json",
    "results/devices/local/summary.parquet",
    "results/devices/local/race.csv",
]
LEFT = [  # whatever the configuration
    "results/summary.csv",
    "results/pareto.pdf",
    "results/data/train.npz",
    "results/logs/teacher/other-7.log",
    "results/available/pareto.pdf",
    "results/measurements/0123456789abcdef/20261120T175819-fbbb662b.jsonl",
    "results/notes/teacher.txt",
    f"{TINY}/teacher/best.safetensors",
    f"{TINY}/teacher/.7.abcdef.safetensors",
    f"{TINY}/students/{GONE}/notes.md",
]


@pytest.fixture
def config(tmp_path, monkeypatch) -> dict:
    """The configuration of the smallest study, whose files are made in the working directory."""
    monkeypatch.chdir(tmp_path)
    found = checked_study(read_configuration([SMOKE]))
    chosen = {"hakd": FULL, "hakd_free": FULL, "joint": WIDE, "fisher": FULL, "round16": FULL}
    methods = {name: {"arch": arch} for name, arch in chosen.items()}
    race = {"fisher": {"survivors": [WIDE, FULL]}}
    write_json(f"{TINY}/widths/0.8.json", "widths", {"methods": methods})
    write_json(f"{TINY}/snap/0.8/local.json", "snap", {"methods": methods, "race": race})
    for rung in (1, 2):
        content = {"methods": {"race": {"arch": WIDE}}, "race": {"fisher": {"survivors": [WIDE]}}}
        write_json(f"{TINY}/race/0.8/local/{rung}.json", "race", content)
    for method in ("copycat", "random_order"):
        write_json(f"{TINY}/widths/{method}/0.8.json", "widths", {"methods": {method: {"arch": LONE}}})
    for path in (*USED, *LEFT):
        put(path)
    return found


def put(*paths: str) -> None:
    """Files of a hundred bytes."""
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(bytes(100))


def changed(config: dict, **run) -> dict:
    """The configuration with other values in `run`."""
    found = copy.deepcopy(config)
    found["run"] |= run
    return found


def reasons(config: dict) -> dict[str, str]:
    """Why, by path."""
    return {entry.path: entry.reason for entry in unused(config)[0]}


def test_all_of_a_study_belongs_to_its_configuration(config):
    assert unused(config) == ([], [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"{TINY}/teacher/7.csv", "seed 7 is not in run.seeds"),
        (f"{TINY}/teacher/7.safetensors.resume", "seed 7 is not in run.seeds"),
        (f"{TINY}/fisher/0.25.state", "level 0.25 is not in run.levels"),
        (f"{TINY}/l1/0.8.csv", "method l1 is not in run.methods"),
        (f"{TINY}/search3/fisher/0.8.csv", "no search of seed 3 by run.search_seeds"),
        (f"{TINY}/latency/pair.parquet", "device pair is not in run.devices"),
        (f"{TINY}/snap/0.8/north.json", "device north is not in run.devices"),
        (f"{TINY}/fleet/0.8/pis.json", "fleet pis is not in run.fleets"),
        (f"{TINY}/widths/l1/0.8.json", "method l1 is not in run.methods"),
        (f"{TINY}/race/0.8/{GONE}-1.safetensors", "no candidate has these widths, recipe, loss and seed"),
        (f"{TINY}/race/0.8/local/3.json", "rung 3 is beyond race.rungs"),
        (f"{TINY}/deep_compression/0.25-0.onnx", "density 0.25 is not in deep_compression.densities"),
        (f"{TINY}/weight_pruning/0.25-0.json", "density 0.25 is not in weight_pruning.densities"),
        (f"{TINY}/deep_compression_paper/0.5-0.hakdc", "method deep_compression_paper is not in run.methods"),
        (f"{TINY}/students/{FULL}/tuned-fisher-0.8-ce-7.csv", "seed 7 is not in run.seeds"),
        (f"{TINY}/students/{FULL}/tuned-l1-0.8-ce-0.csv", "method l1 is not in run.methods"),
        (
            f"{TINY}/students/{FULL}/distilled_coded-at-0.hakdc",
            "recipe distilled_coded is not in students.recipes of a selected method",
        ),
        (
            f"{TINY}/students/{FULL}/distilled-logits-std-0.onnx",
            "loss logits-std is not in students.losses or students.recipes",
        ),
        (f"{TINY}/students/{LONE}/scratch-ce-0.onnx", "no candidate has these widths, recipe, loss and seed"),
        (f"{TINY}/teacher/0.int8.onnx", "no device of run.devices takes .int8.onnx"),
        ("results/candidates/tiny/baselines.int8.tflite.json", "no device of run.devices takes .int8.tflite"),
        (f"results/architectures/{GONE}.json", "no choice of widths has this architecture"),
        ("results/candidates/tiny/0.8/pair.json", "device pair is not in run.devices"),
        ("results/candidates/tiny/0.8/methods/l1.json", "method l1 is not in run.methods"),
        ("results/candidates/other/baselines.json", "network other is not in run.networks"),
        ("results/devices/pair/audit.pdf", "device pair is not in run.devices"),
    ],
)
def test_a_file_that_nothing_uses_is_listed_with_the_reason(config, path, reason):
    put(path)
    (entry,) = unused(config)[0]
    assert entry.files == (path,) and entry.reason == reason and entry.size_bytes == 100
    assert path.startswith(entry.path)


def test_a_kept_state_of_a_stopped_compression_is_one_folder(config):
    put(f"{TINY}/deep_compression/0.5-0.hakdc.resume/prune.state")  # goes on
    put(*(f"{TINY}/deep_compression/0.5-7.hakdc.resume/{name}.state" for name in "ab"))
    (entry,) = unused(config)[0]
    assert entry.path == f"{TINY}/deep_compression/0.5-7.hakdc.resume" and entry.size_bytes == 200
    remove([entry])
    assert not Path(entry.path).exists() and unused(config)[0] == []


@pytest.mark.parametrize(
    ("run", "paths"),
    [
        (
            {"methods": ["teacher", "fisher", "hakd", "random_order"]},
            {f"{TINY}/{method}" for method in ("race", "deep_compression", "weight_pruning", "ternary")},
        ),
        ({"seeds": [1]}, {f"{TINY}/teacher", f"{TINY}/students"}),
        ({"levels": [0.5]}, {f"{TINY}/snap", f"{TINY}/race", "results/candidates/tiny/0.8"}),
        ({"devices": ["pair"]}, {f"{TINY}/snap", "results/devices"}),
        ({"networks": ["other"]}, {TINY, "results/candidates"}),
    ],
)
def test_what_a_removed_value_leaves_is_listed_by_folder(config, run, paths):
    """`notes.md` and the other files of the user keep their folders from being listed as a whole."""
    os.remove(f"{TINY}/students/{GONE}/notes.md")
    for name in ("best", ".7.abcdef"):
        os.remove(f"{TINY}/teacher/{name}.safetensors")
    found = reasons(changed(config, **run))
    assert paths <= set(found)


def test_a_level_that_others_were_pruned_from_belongs_to_them(config):
    put(f"{TINY}/fisher/0.9.state", f"{TINY}/fisher/0.95.state", f"{TINY}/fisher/0.99.state")
    note_source(f"{TINY}/fisher", "0.8", "0.9")
    note_source(f"{TINY}/fisher", "0.9", "0.95")
    assert set(reasons(config)) == {f"{TINY}/fisher/0.99.state"}


def test_before_all_widths_are_chosen_any_student_may_be_used(config):
    stray = f"{TINY}/students/{GONE}/distilled-at-0.onnx"
    put(stray, f"results/architectures/{GONE}.json", f"{TINY}/students/{GONE}/distilled-at-7.onnx")
    level = changed(config, levels=[0.8, 0.9])
    found, incomplete = unused(level)
    assert [entry.path for entry in found] == [f"{TINY}/students/{GONE}/distilled-at-7.onnx"]
    assert incomplete == ["tiny"]
    Path(f"{TINY}/snap/0.8/local.json").write_text("{")
    assert unused(config)[1] == ["tiny"] and stray not in reasons(config)


def test_a_folder_that_someone_copied_is_not_the_studys(config):
    spec = NetworkSpec("gone", "mobilenet", 1, 8, 10, {})
    for folder in ("gone", "gone-copy"):
        path = f"results/{folder}/teacher/0.safetensors"
        write_checkpoint(path, Architecture(spec, {"stem": 8}), {"w": np.zeros(3)}, {})
    for folder in ("far", "far-copy"):
        write_json(f"results/devices/{folder}/benchmark.json", "benchmark", {"device": {"name": "far"}})
    put("results/devices/empty/summary.parquet", "results/candidates/unknown/baselines.json")
    assert reasons(config) == {
        "results/gone": "network gone is not in run.networks",
        "results/devices/far": "device far is not in run.devices",
    }


def test_links_and_a_store_within_the_results_are_left_alone(config, tmp_path):
    outside = tmp_path / "outside"
    put(str(outside / "teacher" / "9.csv"), f"{TINY}/keep/teacher/9.csv")
    os.symlink(outside, "results/linked")
    os.symlink(outside / "teacher" / "9.csv", f"{TINY}/teacher/9.csv")
    put("results/other/teacher/9.csv")
    assert set(reasons({**config, "store": "results/other"})) == {f"{TINY}/teacher/9.csv"}
    found = unused(config)[0]
    remove(found)
    assert not os.path.lexists(f"{TINY}/teacher/9.csv") and not os.path.exists("results/other")
    assert (outside / "teacher" / "9.csv").exists() and os.path.exists(f"{TINY}/keep/teacher/9.csv")


def everything() -> set[str]:
    """All files below results/."""
    return {str(path) for path in Path("results").rglob("*") if path.is_file()}


def test_only_what_was_listed_is_removed_and_only_with_yes(config, capsys):
    extra = [
        f"{TINY}/teacher/7.csv",
        f"{TINY}/search3/fisher/0.8.csv",
        "results/candidates/other/baselines.json",
    ]
    before = everything()
    put(*extra)
    words = ["clean", "--config", str(SMOKE)]
    assert main([*words, "--yes"]) == FINDING and everything() == before | {*extra}
    said = capsys.readouterr().err
    assert "was not run with this configuration, so nothing was removed" in said and said.count("\n") == 1
    keep_configuration(config)
    before |= {f"results/configurations/{config_digest(config)}.json"}
    assert main(words) == FINE and everything() == before | {*extra}
    said = capsys.readouterr().out
    assert "3 files, 0.3 kB. Nothing was removed; --yes removes these files." in said
    assert "seed 7 is not in run.seeds: 0.1 kB\n  results/tiny/teacher/7.csv (0.1 kB)\n" in said
    assert "  results/tiny/search3/ (0.1 kB, 1 file)\n" in said
    assert main([*words, "--yes", "--json"]) == FINE and everything() == before
    found = json.loads(capsys.readouterr().out)
    assert found["removed"] and found["bytes"] == 300 and len(found["groups"]) == 3
    assert not os.path.exists(f"{TINY}/search3") and not os.path.exists("results/candidates/other")
    assert main([*words, "--yes"]) == FINE
    assert "Nothing to remove" in capsys.readouterr().out


def test_nothing_is_done_while_a_snakemake_runs(config, capsys):
    put(f"{TINY}/teacher/7.csv")
    keep_configuration(config)
    words = ["clean", "--config", str(SMOKE), "--yes"]
    os.makedirs(".snakemake/locks")
    put(".snakemake/locks/0.input.lock")  # without the study's own lock: who can say that it is stale
    assert main(words) == FINDING
    with open(".snakemake/hakd.lock", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # as a job holds it
        assert main(words) == FINDING
        assert "a Snakemake works on this study" in capsys.readouterr().err and os.path.exists(
            f"{TINY}/teacher/7.csv"
        )
    assert main(words) == FINE and not os.path.exists(f"{TINY}/teacher/7.csv")


def test_a_folder_without_results_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["clean"]) == FINDING
    assert capsys.readouterr().err.endswith("results: no such folder. Run this in the folder of a study\n")


def test_paths_are_taken_apart():
    path = f"tiny/students/{FULL}/search7/tuned_coded-random_order-0.5-at+logits-3.hakdc"
    assert parts_of(path) == {
        "network": "tiny", "arch": FULL, "search": "search7/", "recipe": "tuned_coded", "criterion": "random_order",
        "level": "0.5", "loss": "at+logits", "seed": "3",
    }  # fmt: skip
    assert parts_of(f"tiny/students/{FULL}/distilled-logits-std-0.csv")["loss"] == "logits-std"
    assert parts_of("tiny/teacher/0.txt") is parts_of("summary.csv") is None
