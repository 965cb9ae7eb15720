"""The command line: quick, clear, with the exit statuses that its help promises."""

import re
import subprocess
import sys

import pytest

from hakd import __version__
from hakd.cli import FINDING, FINE, USAGE, main, parser
from hakd.records.code import CHECKOUT
from tests.unit.command import HEAVY, loaded, run

COMMANDS = (
    *("doctor", "pin", "plan", "sweep", "best", "compare", "clean"),
    *("staircase", "export-table", "import-table", "recheck", "store"),
)
DEVICE_FREE = ("best", "staircase", "compare")  # read no configuration


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_help_has_examples_and_statuses_and_loads_nothing_heavy(words):
    status, names = loaded([*words, "--help"], HEAVY)
    assert (status, names) == (FINE, [])
    text = run(*words, "--help").stdout
    assert "exit status:" in text and ("A DEVICE is" in text) == (
        words not in ([name] for name in DEVICE_FREE)
    )
    if words:
        assert "examples:" in text and f"hakd {words[0]} " in text
    for line in re.findall(r"^ {2}(hakd .+?)(?: {3,}.*)?$", text, re.MULTILINE):
        assert parser().parse_args(line.split()[1:]), line


def test_every_command_is_tested_and_documented():
    listed = re.findall(r"^ {4}([a-z-]+)", run("--help").stdout, re.MULTILINE)
    page = (CHECKOUT / "docs" / "commands.md").read_text()
    assert set(COMMANDS) <= set(listed)
    assert all(f"\n## hakd {name}\n" in page for name in COMMANDS)
    assert all(f"\n    hakd {name} " in page for name in listed)


@pytest.mark.parametrize("words", [["store", "verify", "--store", "tests"], ["plan", "--no-training"]])
def test_commands_without_training_load_no_torch(words):
    assert loaded(words, ("torch", "snakemake"))[1] == []


def test_looking_up_a_device_loads_neither_torch_nor_pandas():
    assert loaded(["pin", "local"], ("torch", "pandas", "scipy", "snakemake")) == (FINE, [])


def test_the_version():
    assert run("--version").stdout == f"hakd {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["frobnicate"],
        ["pin"],
        ["sweep", "local", "mobilenet"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--mode", "guess"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--level", "1.5"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--level", "0"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--level", "nan"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--processes", "1"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--rounds", "2.5"],
        ["sweep", "local", "mobilenet", "--out", "x.csv", "--level", "0.5", "--widths", "w.json"],
        ["staircase"],
        ["export-table", "t.parquet", "--out", "x.json"],
        ["export-table", "t.parquet", "--format", "pickle", "--out", "x.json"],
        ["import-table", "t.parquet"],
        ["import-table", "t.parquet", "--unchecked", "--device", "local"],
        ["recheck", "local"],
        ["recheck", "local", "--table", "t.parquet", "--processes", "2"],
        ["store"],
        ["best", "--device", "local"],
        ["best", "--device", "local", "--max-latency-ms", "0"],
        ["best", "--device", "local", "--max-latency-ms", "5", "--min-accuracy", "93"],
        ["plan", "--gmacs", "inf"],
    ],
)
def test_a_command_line_that_is_not_understood_is_status_2(words):
    done = run(*words)
    assert done.returncode == USAGE
    assert "usage: hakd" in done.stderr and "Traceback" not in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["doctor", "nobody"], r"unknown device 'nobody'"),
        (["pin", "nowhere.yaml"], r"nowhere\.yaml: cannot read"),
        (["doctor", "--config", "nowhere.yaml"], r"nowhere\.yaml: cannot read"),
        (["sweep", "local", "lenet", "--out", "x.csv"], r"networks: unknown network 'lenet'\. .*Known: mobilenet"),
        (["sweep", "local", "mobilenet", "--out", "x.xls"], r"x\.xls: --out: a table cannot be \.xls"),
        (["sweep", "local", "mobilenet", "--out", "/proc/x.csv"], r"--out: cannot write to /proc"),
        (["sweep", "local", "mobilenet", "--out", "x.csv", "--groups", "stem", "top"], r"no such width group: 'top'"),
        (["sweep", "local", "mobilenet", "--out", "x.csv", "--widths", "w.json"], r"w\.json: no such file"),
        (["recheck", "local", "--table", "t.parquet"], r"t\.parquet: no such file\. Make one with `hakd sweep`"),
        (["import-table", "t.json", "--fingerprint", "ab"], r"t\.json: no such file\. Get the table"),
        (["import-table", "t.json", "--fingerprint", "ab", "--same-model"], r"--same-model: needs a device"),
        (["store", "ls"], r"results/measurements: --store: no such store"),
        (["best", "--device", "local", "--max-latency-ms", "5"], r"results: local: no results of this device"),
        (["plan", "--config", "nowhere.yaml"], r"nowhere\.yaml: cannot read"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_1(words, message, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
    assert done.returncode == FINDING and not done.stdout
    assert re.match(rf"error: .*{message}", done.stderr) and done.stderr.count("\n") == 1


def test_there_is_nothing_to_pin_on_this_machine(capsys):
    assert main(["pin", "local"]) == FINE
    assert capsys.readouterr().out == "local: nothing to pin: transport local has no host key\n"


def test_whoever_reads_the_output_may_leave():
    command = f"{sys.executable} -m hakd pin local | true"
    done = subprocess.run(["bash", "-c", command], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_defect_of_our_own_is_one_line_with_its_place(monkeypatch, capsys):
    def broken(arguments: object) -> int:
        return {}["nothing"]

    monkeypatch.setattr("hakd.commands.store._run", broken)
    monkeypatch.delenv("HAKD_TRACEBACK", raising=False)
    assert main(["store", "ls"]) == FINDING
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"error: a defect of hakd at \S+, line \d+: KeyError: 'nothing'\. Please report it; .*\n", said
    )
    monkeypatch.setenv("HAKD_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["store", "ls"])
