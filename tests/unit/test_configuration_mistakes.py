"""Mistakes in a study's configuration: one line that names file, key and remedy, for the workflow and for `hakd`."""

import json
import re

import pytest
from snakemake.utils import validate

from hakd.records.errors import HakdError
from hakd.study.configuration import settings
from hakd.study.contrasts import check_contrasts, series_of
from hakd.study.devices import find_device
from hakd.study.files import merged_configuration, read_configuration
from hakd.study.networks import network_of
from hakd.study.schema import checked_study

# What my.yaml, laid over the built-in study, holds; and what is said about it after `my.yaml: `.
MISTAKES = {
    "devices: {a: {}}\ndevices: {b: {}}": r"not YAML \(duplicate key 'devices', line 2\)\. ",
    "devices:\n  pi: {threads: 1}\n  pi: {threads: 2}": r"not YAML \(duplicate key 'pi', line 3\)\. ",
    "run:\n\tlevels: [0.5]": r"not YAML \(found character .*, line 2\)\. ",
    "run: [local": r"not YAML \(.*, line 1\)\. ",
    "run: 3": r"run: 3 is not accepted\. Give a mapping: What this study runs",
    "run:": r"run: nothing is not accepted\. Give a mapping",
    "levels: [0.5]": r"unknown key 'levels'\. Write it below `run`$",
    "network: {}": r"unknown key 'network'\. Did you mean 'networks'\?$",
    "run: {level: [0.5]}": r"run: unknown key 'level'\. Did you mean 'levels'\? Known: ",
    "students: {recipe: {learning: 1}}": r"students\.recipe: unknown key 'learning'\. Known: lr, ",
    "devices: {local: {round: 5}}": r"devices\.local: unknown key 'round'\. Did you mean 'rounds'\?$",
    "run: {devices: [local2]}": r"run\.devices: unknown device 'local2'\. Did you mean 'local'\? Known: ",
    "run: {networks: [mobilnet]}": r"run\.networks: unknown network 'mobilnet'\. Did you mean 'mobilenet'\?",
    "run: {fleets: [pis]}": r"run\.fleets: unknown fleet 'pis'\. ",
    "run: {methods: [hkad]}": r"run\.methods\.0: hkad is not accepted\. Did you mean 'hakd'\? Use one of teacher, ",
    "run: {methods: [best]}": r"run\.methods\.0: best is not accepted\. Use one of teacher, fisher, ",
    "run: {levels: [0.5, 0]}": r"run\.levels\.1: 0 is not accepted\. Give above 0: How far to prune",
    "run: {levels: [1.50]}": r"run\.levels\.0: 1\.50 is not accepted\. Give at most 1: How far to prune",
    "run: {levels: [0.5, 0.50]}": r"run\.levels: \[0\.5, 0\.50\] is not accepted\. Give each value once: ",
    "run: {levels: []}": r"run\.levels: \[\] is not accepted\. Give items, at least 1: ",
    "run: {levels: 0.5}": r"run\.levels: 0\.5 is not accepted\. Write \[0\.5\]: ",
    "run: {levels: [1e-9]}": r"run\.levels: 1e-09 cannot be reached by mobilenet: .*\. Use a higher level$",
    "run: {devices: local}": r"run\.devices: local is not accepted\. Write \[local\]: Devices to sweep",
    "run: {devices: []}": r"run\.devices: \[\] is not accepted\. Give items, at least 1: ",
    "run: {devices: [yes]}": r"run\.devices\.0: yes is not accepted\. Put it in quotes to ",
    "devices: {yes: {}}": r"devices: the name true is not text\. YAML reads yes, .* Put it in quotes",
    "devices: {5: {}}": r"devices: the name 5 is not text\. Put it in quotes, or choose another$",
    "devices: {my pi: {}}": r"devices: 'my pi' is not a valid name\. Use names like ",
    "devices: {Local: {}}": r"devices\.Local: 'local' and 'Local' differ in case only\. Rename one$",
    "devices: {pi: {transport: ssh}}": r"devices\.pi\.host: is missing\. Give a host name",
    "devices: {pi.4: {transport: ssh, host: a b}}": r"devices\.pi\.4\.host: a b is not accepted\. ",
    "devices: {pi: {transport: sssh}}": r"devices\.pi\.transport: sssh is not accepted\. Did you mean 'ssh'\? Use one ",
    "devices: {local: {engine: tensorrt}}": r"devices\.local\.engine: tensorrt is not accepted\. Use one of onnxr",
    "devices: {local: {cpus: [0, 1]}}": r"devices\.local\.cpus: \[0, 1\] is not accepted\. Give a list of different ",
    "devices: {pi: }": r"devices\.pi: nothing is not accepted\. Give a mapping: One device",
    "run: {seeds: [zero]}": r"run\.seeds\.0: zero is not accepted\. Give a whole number: Training seeds",
    "run: {seeds: [0.5]}": r"run\.seeds\.0: 0\.5 is not accepted\. Give a whole number: ",
    "networks: {Mobilenet: {family: mobilenet}}": r"networks\.Mobilenet: 'mobilenet' and 'Mobilenet' differ in case ",
    "networks: {densenet: {multiplier: 1}}": r"networks\.densenet\.multiplier: .* no such option\. Use one of ",
    "networks: {densenet: {depth: 23}}": r"networks\.densenet: .*does not exist\. Take 6 n \+ 4",
    "networks: {n: {family: lenet}}": r"networks\.n\.family: lenet is not accepted\. .*Use one of mobilenet",
    "networks: {devices: {family: mobilenet}}": r"networks\.devices: is a folder of the results\. Rename it$",
    "data: {name: mnist}": r"data\.name: mnist is not accepted\. Use one of digits, ",
    "data: {size: 5}": r"data\.size: digits has no such setting\. Use one of ",
    "teacher: {recipe: {augment: maybe}}": r"teacher\.recipe\.augment: maybe is not accepted\. Give a true or false: ",
    "choosing: {budgets: [{speedup: 2, latency_ms: 1}]}": r"choosing\.budgets\.0: .* not accepted\. Give keys, at ",
    "choosing: {budget: {speedup: 2}}": r"choosing: unknown key 'budget'\. Did you mean 'budgets'",
    "fleets: {pis: {}}": r"fleets\.pis\.devices: is missing\. Give it: Two devices or more",
    "- run": r"is not a mapping\. ",
    "store: 5": r"store: 5 is not accepted\. Put it in quotes to make it text: Folder of the measurement",
}  # fmt: skip
# What `analysis.contrasts` holds, and what is said about it after `analysis.contrasts.`.
CONTRASTS = {
    "hakd - fisher": r"0: hakd - fisher is not accepted\. Give a mapping: `a` and `b`",
    "{a: hakd}": r"0\.b: is missing\. Give it: The series that it is compared with$",
    "{a: hkad, b: fisher/tuned/ce}": r"0\.a: unknown method 'hkad', or one that is not run\. Did you mean 'hakd'\? ",
    "{a: knapsack, b: fisher/tuned/ce}": r"0\.a: unknown method 'knapsack', or .* \(or add it to `run\.methods`\)$",
    "{a: fisher, b: hakd}": r"0\.a: 'fisher' matches several series\. .* fisher/tuned/logits, fisher/distilled/logits$",
    "{a: hakd/scratch, b: fisher/tuned/ce}": r"0\.a: 'hakd/scratch' matches no series .* one of: hakd/tuned/logits$",
    "{a: hakd, b: fisher/distilled/at}": r"0\.b: 'fisher/distilled/at' matches no series of the study\. ",
    "{a: hakd/tuned/logits/0, b: fisher/tuned/ce}": r"0\.a: .hakd/tuned/logits/0. matches no series of ",
    "{a: hakd@round16, b: fisher/tuned/ce}": r"0\.a: 'hakd@round16' matches no series of the study\. ",
    "{a: hakd, b: hakd/tuned}": r"0: a series against itself\. Name two different series$",
    "{a: hakd, b: uniform}, {a: uniform/tuned, b: hakd}": r"1: the same as analysis\.contrasts\.0\. Name each ",
    "{a: hakd, b: uniform, name: x}, {a: hakd, b: round16, name: x}": r"1\.name: duplicate name 'x'\. ",
    "{a: hakd, b: uniform, at: price}": r"0\.at: price is not accepted\. Use one of latency, size$",
    "{a: hakd, b: uniform, at: size}, {a: uniform, b: hakd, at: size}": r"1: the same as analysis\.contrasts\.0\. ",
}
MISTAKES |= {
    f"analysis: {{contrasts: [{text}]}}": rf"analysis\.contrasts\.{words}"
    for text, words in CONTRASTS.items()
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a configuration into the working directory; its name."""
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "my.yaml") -> str:
        (tmp_path / name).write_text(text)
        return name

    return written


def merged(names: list[str]) -> dict:
    """The built-in study with files laid over it."""
    return dict(read_configuration(names).content)


def error_of(make) -> HakdError:
    """The mistake that stops a check."""
    with pytest.raises(HakdError) as caught:
        checked_study(make())
    assert caught.value.remedy and str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_a_mistake_is_one_line_with_file_key_and_remedy(root, write, text, message):
    name = write(text)
    by_command = str(error_of(lambda: read_configuration([name])))
    assert re.match(rf"my\.yaml: {message}", by_command), by_command
    # The workflow engine hands over what it has merged.
    content = merged([name]) if "not YAML" not in message and "not a mapping\\." not in message else {}
    files = [root / "config" / "config.yaml", name]
    assert str(error_of(lambda: merged_configuration(content, files))) == by_command


def test_of_several_files_the_one_at_fault_is_named(root, write):
    base = root / "config" / "config.yaml"
    first = write(
        "run: {levels: [2]}\nteacher: {epochs: 0}\ndevices: {pi: {transport: ssh, host: h}}", "first.yaml"
    )
    second = write("teacher: {epochs: 3}\ndevices: {pi: {port: 23}}", "second.yaml")
    third = write("run: {levels: [0.5]}\ndevices: {pi: {port: 22, threads: 0}}", "third.yaml")

    def fault(names, **given):
        content = {**merged(names), **given}
        return str(error_of(lambda: merged_configuration(content, [base, *names])))

    assert fault([first]).startswith("first.yaml: teacher.epochs: 0 ")
    assert fault([first, second]).startswith("first.yaml: run.levels.0: 2 ")
    assert fault([second, third]).startswith("third.yaml: devices.pi.threads: 0 ")
    assert fault([third], teacher=5).startswith("--config: teacher: 5 is not accepted. Give a mapping")
    assert fault([], store=5) == fault([third], store=5)
    write("run: {levels: []}", "third.yaml")
    assert str(error_of(lambda: read_configuration([second, third]))).startswith(
        "third.yaml: run.levels: [] "
    )


def test_a_device_of_a_later_file_is_blamed_there_by_every_command(write):
    first, second = (
        write("devices: {pi: {transport: ssh, host: h}}", "a.yaml"),
        write("devices: {pi: {port: x}}"),
    )
    with pytest.raises(
        HakdError, match=r"^my\.yaml: devices\.pi\.port: x is not accepted\. Give a whole number"
    ):
        find_device("pi", [first, second])
    write("networks: {densenet: {depth: 23}}")
    with pytest.raises(HakdError, match=r"^my\.yaml: networks\.densenet: .*does not exist\. Take 6 n \+ 4"):
        network_of(read_configuration([first, second]), "densenet")


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("prune: {lr: 5e-4}", "prune/lr", 0.0005),  # text to YAML 1.1, as is 1e3
        ("teacher: {epochs: 1e1}", "teacher/epochs", 10),
        ("students: {recipe: {milestones: [5e-1, .75]}}", "students/recipe/milestones", [0.5, 0.75]),
        ("data: {validation: 2e-1}", "data/validation", 0.2),
        ("devices: {local: {min_step: 5e-2}}", "devices/local/min_step", 0.05),
        # As within `--config KEY={...}`, where everything is text.
        ("run: {seeds: ['0', '1']}", "run/seeds", [0, 1]),
        ("teacher: {recipe: {augment: 'false'}}", "teacher/recipe/augment", False),
        ("devices: {5e-4: {}, '1': {threads: '2'}}", "devices", None),
    ],
)
def test_text_that_spells_a_number_is_one_where_a_number_is_wanted(write, text, path, value):
    study = checked_study(read_configuration([write(text)]))
    if value is None:  # names stay text
        assert list(study["devices"]) == ["local", "5e-4", "1"] and study["devices"]["1"]["threads"] == 2
    else:
        assert settings(study, path) == value
    assert find_device("local", ["my.yaml"]).measuring.min_step == study["devices"]["local"]["min_step"]


def test_contrasts_that_the_study_can_compute_pass(write):
    text = (
        "analysis: {contrasts: [{a: hakd, b: fisher/tuned/ce}, {a: hakd/tuned/logits, b: fisher/distilled}]}"
    )
    study = checked_study(read_configuration([write(text)]))
    declared = {"a": "hakd/tuned/logits", "b": "fisher/distilled", "at": "latency"}
    assert settings(study, "analysis/contrasts")[1] == declared
    both = "{a: hakd, b: fisher/tuned/ce, name: x}, {a: hakd, b: fisher/tuned/ce, at: size, name: x}"
    checked_study(read_configuration([write(f"analysis: {{contrasts: [{both}]}}")]))
    assert ("deep_compression", None, "compressed", "ce") in series_of(study)
    fleet = "devices: {b: {}}\nfleets: {both: {devices: [local, b]}}\nrun: {devices: [local, b], fleets: [both]}\n"
    write(f"{fleet}analysis: {{contrasts: [{{a: fleet both, b: fisher/tuned/ce}}]}}")
    assert ("fleet both", None, "tuned", "logits") in series_of(
        checked_study(read_configuration(["my.yaml"]))
    )


def test_a_budget_is_part_of_a_series(write):
    study = checked_study(read_configuration([write("run: {methods: [joint, fisher]}")]))
    assert {one[:2] for one in series_of(study)} == {("joint", "round16"), ("fisher", None)}
    study["choosing"]["budgets"] = [{"like": "hakd"}]
    assert {one[:2] for one in series_of(study)} == {("joint", "hakd"), ("fisher", None)}
    study["analysis"]["contrasts"] = [{"a": "joint@hakd", "b": "fisher/tuned/ce"}]
    check_contrasts(study, "my.yaml")


@pytest.mark.parametrize("name", ["config", "smoke", "cluttered"])
def test_defaults_are_those_that_the_workflow_engine_would_set(root, name):
    config = read_configuration([root / "config" / f"{name}.yaml"])
    content = json.loads(json.dumps(config.content))
    validate(content, str(root / "config" / "schemas" / "config.schema.yaml"))
    assert checked_study(config) == content
