"""`hakd plan`: its counts hold what a sweep then times, its minutes come from what the store has seen."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from hakd.boards import open_board
from hakd.boards.journal import read
from hakd.choosing.device_free import scaled
from hakd.cli import FINDING, FINE, USAGE, main
from hakd.data import prepare
from hakd.networks.families import full_graph
from hakd.planning.devices import device_plans, network_lines, network_rows
from hakd.planning.training import TRAIN, train_images, training_jobs
from hakd.study.files import read_configuration
from hakd.study.measuring import device_from
from hakd.study.networks import spec_of
from hakd.study.schema import checked_study
from hakd.sweeping.following import LENGTHS
from hakd.sweeping.sweep import sweep
from hakd.sweeping.timing import LOOKS
from tests.boards.points import QUICK, pointwise
from tests.boards.virtual_tables import MODEL, NETWORKS
from tests.unit.image_trees import make_tree

pytestmark = pytest.mark.beside

STUDY = {
    "run": {
        "devices": ["vdev"],
        "networks": ["small"],
        "levels": [0.6],
        "seeds": [0, 1],
        "methods": ["teacher", "fisher", "hakd", "uniform", "deep_compression"],
    },
    "data": {"name": "digits", "seed": 0},
    "networks": {"small": NETWORKS["small"]},
    "devices": {"vdev": {"transport": "virtual", "cost_model": MODEL}},
    "store": "bursts",
}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with a whole configuration."""
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path)
    write(STUDY)
    return tmp_path


def write(study: dict) -> None:
    Path("config/config.yaml").write_text(yaml.safe_dump(study))


def plan_of(store: str = "none"):
    (found,) = device_plans(checked_study(read_configuration()), Path(store))
    return found


def test_a_sweep_times_as_many_points_as_were_planned():
    study = checked_study(read_configuration())
    curves, tiles = plan_of().parts[:2]
    found = {0.6: {"fisher": scaled(spec_of(study, "small"), 0.6)}}
    device = study["devices"]["vdev"]
    frame, _ = sweep("vdev", device, "bursts", found)
    timed = int((frame["kind"] == "block").sum())
    assert curves.points[0] <= timed <= curves.points[1]
    shapes = frame.loc[frame["kind"] == "tile", "shape"].nunique()
    assert tiles.points[0] <= shapes <= tiles.points[1]


def test_minutes_come_from_the_store_where_it_knows_the_device():
    assumed = plan_of()
    assert assumed.basis == "assumed: 2 GMAC/s a thread, 3 us a call"
    device, measuring = device_from("vdev", STUDY["devices"]["vdev"])
    with open_board(device, Path("bursts")) as board:
        board.measure([pointwise(width) for width in (15, 16)], QUICK, progress=False)
    bursts = [
        one for path in Path("bursts").glob("*/*.jsonl") for one in read(path) if one["type"] == "burst"
    ]
    at = [one["at_ns"] for one in bursts]
    visit_s = (max(at) - min(at)) / 1e9 / len(bursts)
    seen = plan_of("bursts")
    assert seen.basis.endswith(f"from {len(bursts)} visits in the store")
    for part in seen.parts:
        once = measuring.processes * measuring.rounds
        if part.what in ("benchmark", "small: verification"):
            once = measuring.benchmark_processes * measuring.rounds
        assert part.seconds[0] == pytest.approx(part.points[0] * once * visit_s)
        looks = sum(LENGTHS) if part.what == "small: curves" else LOOKS
        assert part.seconds[1] == pytest.approx(part.points[1] * once * visit_s * looks)
    assert [part.points for part in seen.parts] == [part.points for part in assumed.parts]


def test_jobs_of_training():
    study = checked_study(read_configuration())
    jobs = {job.what: job for job in training_jobs(study, "small", 1000)}
    assert train_images(study) == 1295
    assert train_images({**study, "data": {"name": "digits", "train_size": 300}}) == 300
    assert train_images({**study, "data": {"name": "fashion-mnist"}}) == 54000
    drawn = {"name": "cluttered-digits", "train_size": 300}
    assert train_images({**study, "data": drawn}) == 6000
    assert jobs["teacher"].jobs == 2 and jobs["teacher"].images == 12 * 1000
    assert jobs["pruning"].jobs == 1
    study["run"] |= {"levels": [0.6, 0.8], "methods": [*study["run"]["methods"], "l1"]}
    more = {job.what: job for job in training_jobs(study, "small", 1000)}["pruning"]
    assert more.jobs == 4 and more.images == pytest.approx(jobs["pruning"].images / 2)
    study["run"]["methods"].append("joint")
    deeper = {job.what: job for job in training_jobs(study, "small", 1000)}["pruning"]
    assert deeper.jobs == 5 and 4 * more.images < deeper.jobs * deeper.images < 8 * more.images
    study["run"]["methods"].remove("joint")
    # fisher: with and without a teacher, hakd and uniform: with one; two seeds each.
    assert jobs["students"].jobs == 8 and jobs["deep compression"].jobs == 4
    assert jobs["students"].images == pytest.approx(8 * 1000 * (0.6 + 3 * (0.6 + 1 / 3)) / 4)
    study["students"]["recipes"]["fisher"] = ["scratch_b"]
    study["run"] |= {"levels": [0.6], "methods": ["fisher"]}
    again = {job.what: job for job in training_jobs(study, "small", 1000)}
    pruned = again["pruning"].images * 2 / (1 + 0.6)  # at full width
    assert again["students"].images == pytest.approx((8 * 1000 + pruned) * 0.6)
    study["students"]["recipes"]["fisher"] = ["scratch_coded", "tuned/ce", "tuned_coded/ce"]
    coded = {job.what: job for job in training_jobs(study, "small", 1000)}
    assert (coded["students"].jobs, coded["compression of students"].jobs) == (
        2 * 2,
        2 * 2,
    )  # the tuned ones count once
    assert coded["students"].images == pytest.approx(8 * 1000 * 0.6)
    assert coded["compression of students"].images == pytest.approx(2 * 1000 * 0.6)
    study["deep_compression"]["student_density"] = 0.5
    (sparse,) = [job for job in training_jobs(study, "small", 1000) if job.what == "compression of students"]
    assert sparse.images == pytest.approx((3 * 2 + 2) * 1000 * 0.6)
    study["run"] |= {"levels": [0.6, 0.8], "methods": ["race"]}
    race = {job.what: job for job in training_jobs(study, "small", 1000)}["race"]
    assert race.jobs == (8 + 4 + 2) * 2  # contestants of each rung, at two levels
    per_level = (8 * 100 + 4 * 200 + 2 * 400) * 64  # images
    assert race.jobs * race.images == pytest.approx(per_level * (0.6 + 0.8 + 2 / 3))
    study["choosing"]["budgets"] = [{"like": "fisher"}, {"speedup": 2}]
    twice = {job.what: job for job in training_jobs(study, "small", 1000)}["race"]
    assert (twice.jobs, twice.images) == (2 * race.jobs, pytest.approx(race.images))


def test_said_at_the_terminal_and_for_machines(capsys):
    assert main(["plan"]) == FINE
    said = capsys.readouterr().out
    assert said.startswith("networks small; levels 0.6; 5 methods; 2 seeds\nsmall: 58,698 parameters, ")
    assert re.search(r", 14 width groups, 15 tiles\nvdev: ", said)
    assert re.search(r"^  small: curves +\d+ to \d+ points  [\d.]+ to [\d.]+ s$", said, re.MULTILINE)
    assert re.search(r"^training: [\d.]+ h on one thread \(1295 images an epoch\)", said, re.MULTILINE)
    assert re.search(r"small \(\d+ images/s at full width\): 2 teacher [\d.]+ h, 1 pruning", said)
    assert main(["plan", "--json", "--no-training", "--gmacs", "0.5"]) == FINE
    rows = json.loads(capsys.readouterr().out)
    assert rows["training"] is None and rows["devices"][0]["basis"].startswith("assumed: 0.5 GMAC/s")


def test_images_of_a_folder_are_counted(capsys):
    images = {"name": "imagefolder", "root": "images"}
    write({**STUDY, "data": images})
    assert main(["plan"]) == FINE
    assert (
        "training: not counted: images: data.root: no such folder. Correct data.root"
        in capsys.readouterr().out
    )
    make_tree(Path("images"), 50)
    assert main(["plan"]) == FINE
    assert re.search(r"^training: [\d.]+ h on one thread \(120 images", capsys.readouterr().out, re.MULTILINE)
    images |= {"size": 8, "validation": 0.2}
    write({**STUDY, "data": images})
    study = checked_study(read_configuration())
    assert train_images(study) == 105
    prepare({"name": "digits"}, TRAIN.parent)  # what another configuration left behind
    assert train_images(study) == 105
    shutil.rmtree("images/red/deeper")
    prepare(images, TRAIN.parent)
    shutil.rmtree("images")
    assert train_images(study) == 35 + 35 + 23  # as prepared
    TRAIN.write_text("damaged")
    assert main(["plan"]) == FINE
    assert f"training: not counted: {TRAIN}: not an npz file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {**STUDY["run"], "devices": ["pi4"]}}, r"run\.devices: unknown device 'pi4'"),
        (
            {"run": {**STUDY["run"], "levels": [2]}},
            r"config\.yaml: run\.levels\.0: 2 is not accepted\. Give at most 1",
        ),
        ({"surplus": 1}, r"config\.yaml: unknown key 'surplus'\. Known: run, data"),
    ],
)
def test_mistakes_are_one_line(changes, message, capsys):
    write({**STUDY, **changes})
    assert main(["plan"]) == FINDING
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1


def test_a_rate_is_above_0():
    with pytest.raises(SystemExit) as end:
        main(["plan", "--gmacs", "0"])
    assert end.value.code == USAGE


def test_networks_are_listed_with_what_they_are_made_of():
    study = checked_study(read_configuration())
    study["networks"]["dense"] = {"family": "densenet", "depth": 16, "growth": 4, "input_size": 8}
    study["run"]["networks"] = ["small", "dense"]
    small, dense = network_rows(study)
    graph = full_graph(spec_of(study, "small"))
    assert (small["params"], small["macs"]) == (graph.params(), graph.macs())
    assert (small["groups"], small["tiles"], small["fixed"]) == (14, 15, {})
    ((reason, number),) = dense["fixed"].items()
    assert number == 9 and "growth rate" in reason  # the stem, six layers, two transitions
    assert network_lines([dense])[1] == f"  9 widths fixed: {reason}"
