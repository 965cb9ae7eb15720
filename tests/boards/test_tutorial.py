"""The commands of docs/tutorial.md and README.md, as a reader types them in the folder of a finished study.

The study itself (`make study`, `snakemake` without `-n`) is run by tests/workflow.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import yaml

from hakd.choosing.device_free import scaled
from hakd.networks.families import build_graph
from hakd.networks.onnx_model import stand_in_weights, to_onnx
from hakd.records.graph import fold_batch_norm
from hakd.study.files import read_configuration
from hakd.study.networks import spec_of
from hakd.study.schema import checked_study
from tests.boards.rigs import Sshd
from tests.unit.builders import SPECS

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"rounds": 3, "burst_ms": 0.3, "min_step": 1}
PRUNED = "results/mobilenet/students/00b6dd78b8a0/tuned-fisher-0.5-ce-0.onnx"


def typed(page: str) -> list[str]:
    """The commands of a page, in order, without comments and what they print."""
    lines = re.findall(
        r"^    (?:\$ )?((?:hakd|make|snakemake|\.) .+)$", (ROOT / page).read_text(), re.MULTILINE
    )
    return [re.sub(r" +# .*", "", line) for line in lines]


def reader(folder: Path, **devices: dict) -> Path:
    """Makes a folder with a configuration whose devices are timed in short bursts, and with small pruned networks."""
    study = checked_study(read_configuration([ROOT / "config" / "config.yaml"]))
    study["devices"] = {"local": study["devices"]["local"] | QUICK, **devices}
    study["networks"]["mobilenet"] |= {"multiplier": 0.0625, "input_size": 16}
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(study))
    for name, spec in (
        (PRUNED, spec_of(study, "mobilenet")),
        ("model.onnx", SPECS["resnet"]()),
        ("pruned.onnx", SPECS["vgg16"]()),
    ):
        graph, _ = fold_batch_norm(build_graph(scaled(spec, 0.5)))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(to_onnx(graph, stand_in_weights(graph)), folder / name)
    return folder


def run(line: str, folder: Path) -> str:
    """What a command prints; it must succeed."""
    checkout = f"--snakefile {ROOT}/Snakefile --configfile config/config.yaml"
    line = re.sub(
        r"^hakd ", f"{sys.executable} -m hakd ", re.sub(r"^snakemake ", f"snakemake {checkout} ", line)
    )
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=500,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_commands_of_the_tutorial_run_in_its_order(tmp_path):
    study, enter, *lines = typed("docs/tutorial.md")
    assert (study, enter) == ("make study", ". .venv/bin/activate")
    folder = reader(tmp_path)
    said = {line.split()[1]: run(line, folder) for line in lines}
    assert list(said) == ["doctor", "sweep", "staircase", "hazards", "explain", "-n"]
    assert "local can be used" in said["doctor"]
    assert re.search(r"^mobilenet on local .*: \d+ points, ", said["sweep"], re.MULTILINE)
    assert (folder / "mobilenet.parquet").stat().st_size and (folder / "mobilenet.pdf").stat().st_size
    assert "pruning up to 12 % of the channels" in said["hazards"]
    assert re.search(r"us as a whole \(stand-in weights\), \d+ widths examined", said["explain"])
    assert "Train the teacher of mobilenet, seed 0" in said["-n"]


def test_the_commands_of_the_readme_run(sshd: Sshd, tmp_path):
    folder = reader(tmp_path, pi4=sshd.device(**QUICK))
    lines = [line for line in typed("README.md") if line.startswith(("hakd ", "snakemake -n"))]
    assert len(lines) >= 6
    for line in lines:
        run(line, folder)
    assert (folder / "pi4.parquet").stat().st_size and (folder / "pi4.pdf").stat().st_size
