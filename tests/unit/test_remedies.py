"""Remedies do something: a damaged file of a study names the command's option that makes it again."""

import os
from pathlib import Path

import pytest

from hakd.data.stored import read as read_stored
from hakd.deep_compression.store import read as read_compressed
from hakd.pruning.trajectory import read_trajectory
from hakd.records.arch import Architecture, NetworkSpec, read_architecture, write_architecture
from hakd.records.checkpoint import read_checkpoint
from hakd.records.errors import HakdError, make_again
from hakd.records.files import read_json
from hakd.records.tables import read_table

READERS = {
    "net/teacher/0.safetensors": read_checkpoint,
    "net/widths/0.5.json": lambda path: read_json(path, "widths"),
    "net/latency/pi.parquet": lambda path: read_table(path, "latency"),
    "devices/pi/hazards.csv": lambda path: read_table(path, "hazards"),
    "net/fisher/0.5.csv": read_trajectory,
    "net/deep_compression/0.5-0.hakdc": read_compressed,
    "data/train.npz": read_stored,
}
ARCHITECTURE = Architecture(NetworkSpec("net", "mobilenet", 1, 8, 10), {"a": 3})


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [None, b"\x00damaged\xff"], ids=["missing", "damaged"])
def test_a_file_of_a_study_is_made_again_by_the_path_that_snakemake_knows(
    tmp_path, monkeypatch, name, content
):
    monkeypatch.chdir(tmp_path)
    path = Path("results", name)
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HakdError) as caught:
        READERS[name](path)
    assert caught.value.remedy == f"Run the study's command with `-R results/{name}` at its end"


def test_a_file_from_elsewhere_is_not_said_to_belong_to_a_study(tmp_path):
    path = tmp_path / "results" / "mine.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(HakdError, match="Give another file, or write it again") as caught:
        read_json(path, "widths")
    assert "-R" not in str(caught.value)
    assert make_again("./results/a.json") == make_again("results/a.json")


@pytest.mark.parametrize("content", ["{", '{"kind": "architecture", "format": 1}'])
def test_a_damaged_architecture_is_written_again_by_the_rules_that_its_error_names(
    tmp_path, monkeypatch, content
):
    # Snakemake does not know these files: these rules and those after them write them.
    monkeypatch.chdir(tmp_path)
    path = Path(f"results/architectures/{ARCHITECTURE.arch}.json")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(HakdError, match="with `-R widths baseline_widths` at its end"):
        read_architecture(path)
    write_architecture(path, ARCHITECTURE)
    assert read_architecture(path) == ARCHITECTURE
    os.utime(path, (1, 1))
    write_architecture(path, ARCHITECTURE)
    assert path.stat().st_mtime == 1, "one that is fine stays"
