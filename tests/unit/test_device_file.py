"""Devices from configurations and device files: what is well-formed is taken, everything else is one clear error."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from hakd.boards import ssh
from hakd.boards.device import SSH_KEYS, Device
from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.study.devices import changed, find_device, find_devices
from hakd.study.files import Configuration, read_configuration
from hakd.study.schema import check_entry
from hakd.study.spelling import respelled
from hakd.study.yaml_files import read_yaml

# Started processes, noted by the interpreter itself.
_STARTED: list[str] = []
_WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn")
sys.addaudithook(lambda event, _: _STARTED.append(event) if event in _WATCHED else None)

CONFIG = Configuration({}, "f")
FIELDS = ("host", "user", "identity_file", "known_hosts", "jump", "python", "lock_path")
HOSTILE = (
    "-oProxyCommand=touch /tmp/x",
    "--",
    "-",
    "a\nProxyCommand x",
    "a\n",
    "`id`",
    "$(id)",
    "${HOME}",
    "a b",
    "%h",
    "a;b",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "a\\b",
    "a\0b",
    "~root/x;",
    "*",
    "a@b@c",
    "[::1",
    "a,b",
    "a#b",
    "",
)
PLAIN = {
    "host": r"[A-Za-z0-9:][A-Za-z0-9:._-]{0,252}(%[A-Za-z0-9._-]+)?",
    "user": r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,254}",
    "identity_file": r"(~/)?[A-Za-z0-9._/][A-Za-z0-9._/-]*",
    "known_hosts": r"(~/)?[A-Za-z0-9._/][A-Za-z0-9._/-]*",
    "jump": r"[A-Za-z0-9_\[][A-Za-z0-9@:.\[\]_%+-]*",
    "python": r"/[A-Za-z0-9._/-]+",
    "lock_path": r"/[A-Za-z0-9._/-]+",
}


# A list of two lists of two lists ...: written out, 2^30 values.
BOMB = "a: {cpus: [&a0 [x, x], " + ", ".join(f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30)) + "]}"


@pytest.fixture
def write(tmp_path):
    """Writes a device file of that text, or of that content; its path."""

    def written(content, name: str = "boards.yaml") -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return written


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with a configuration of its own."""
    folder = tmp_path / "study"
    (folder / "config").mkdir(parents=True)
    entries = {"pi4": {"transport": "ssh", "host": "pi4.lab", "min_step": 0.1}, "here": {"threads": 2.0}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump({"devices": entries}, sort_keys=False))
    monkeypatch.chdir(folder)
    return folder


# --- what is taken


def test_a_board_takes_less_than_ten_lines(write):
    text = "pi4:\n  transport: ssh\n  host: 10.0.0.7\n  user: pi\n  engine: onnxruntime\n  threads: 4\n"
    found = find_device(write(text))
    assert found.device == Device("pi4", "ssh", host="10.0.0.7", user="pi", threads=4)
    assert found.measuring.min_step == 0.06 and found.spelled == found.where


def test_names_are_looked_up_in_the_working_directory(elsewhere):
    found = find_devices([])
    assert [entry.device.name for entry in found] == ["pi4", "here"]
    assert found[0].measuring.min_step == 0.1 and found[0].where == "config/config.yaml"
    assert found[1].device.threads == 2 and type(found[1].device.threads) is int  # 2.0 is 2
    assert find_device("pi4").device.host == "pi4.lab"


def test_without_a_configuration_here_the_checkout_has_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_device("local").where == str(CHECKOUT / "config" / "config.yaml")


def test_later_configurations_are_laid_over(elsewhere, write):
    first = write({"devices": {"pi4": {"threads": 4}, "other": {}}}, "first.yaml")
    second = write({"devices": {"pi4": {"threads": 3}}, "run": {"seeds": [1]}}, "second.yaml")
    found = find_device("pi4", [first, second])
    assert (found.device.threads, found.device.host) == (3, "pi4.lab")
    assert found.where == f"config/config.yaml, {first}, {second}"
    assert read_configuration([first, second]).content["run"] == {"seeds": [1]}
    assert [entry.device.name for entry in find_devices([], [first])] == ["pi4", "here", "other"]


def test_a_file_of_several_devices(write):
    path = write({"a": {}, "b": {"threads": 2}})
    assert [entry.spelled for entry in find_devices([path])] == [f"{path}:a", f"{path}:b"]
    assert find_device(f"{path}:b").device.threads == 2
    with pytest.raises(HakdError, match=r"several devices \(a, b\)\. Name one: .*boards\.yaml:a"):
        find_device(path)
    with pytest.raises(HakdError, match=r"boards\.yaml: unknown device 'c'\. Known: a, b"):
        find_device(f"{path}:c")


def test_settings_of_the_command_line_are_checked_like_the_others(write):
    entry = find_device(write({"a": {"rounds": 5}}))
    more = changed(entry, {"processes": 4, "rounds": None})
    assert (more.measuring.processes, more.measuring.rounds, more.spelled) == (4, 5, entry.spelled)
    assert changed(entry, {"processes": None}) is entry
    with pytest.raises(HakdError, match=r"a\.processes: 1 is not accepted\. Give at least 2"):
        changed(entry, {"processes": 1})


def test_remedies_name_the_file():
    text = "run `hakd pin pi4`; or `hakd pin pi4 --replace`, not `hakd pin pi4b` nor hakd pin pi4"
    assert respelled(text, "pi4", "f.yaml:pi4") == (
        "run `hakd pin f.yaml:pi4`; or `hakd pin f.yaml:pi4 --replace`, not `hakd pin pi4b` nor hakd pin pi4"
    )


def test_remedies_can_be_typed_as_they_are(elsewhere, write):
    """Configuration files of the command line are named again, and names with spaces stand in quotes."""
    more, boards = write({"devices": {"other": {}}}, "more.yaml"), write({"a": {}, "b": {}}, "my boards.yaml")
    error = HakdError("no key", where="device other", remedy="Run `hakd pin other --replace`")
    for entry in (find_device("other", [more]), find_devices([], [more])[-1]):
        assert entry.respelled(error).remedy == f"Run `hakd pin other --config {more} --replace`"
    assert find_device("pi4").spelled == "pi4"
    assert [entry.spelled for entry in find_devices([boards])] == [f"'{boards}:a'", f"'{boards}:b'"]
    assert find_device(f"{boards}:b").spelled == f"'{boards}:b'"


# --- mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {transport: ssh, hots: x}", r"boards\.yaml: a: unknown key 'hots'\. Did you mean 'host'\?$"),
        ("a: {transport: ssh, ProxyCommand: x}", r"a: unknown key 'ProxyCommand'\. Known: transport, host, "),
        ("a: {transport: ssh}", r"boards\.yaml: a\.host: is missing\. Give a host name"),
        ("a: {host: x}", r"a\.host: x is not accepted\. Only for `transport: ssh`"),
        ("a: {transport: telnet}", r"a\.transport: telnet is not accepted\. Use one of local, ssh"),
        ("a: {threads: 2.5}", r"a\.threads: 2\.5 is not accepted\. Give a whole number"),
        ("a: {threads: 0}", r"a\.threads: 0 is not accepted\. Give at least 1"),
        ("a: {threads: true}", r"a\.threads: true is not accepted"),
        ("a: {cpus: [0, 1]}", r"a\.cpus: \[0, 1\] is not accepted\. .* as many as threads"),
        ("a: {min_step: 0}", r"a\.min_step: 0 is not accepted\. Give above 0"),
        ("a: {engine: ncnn, batch: 2}", r"a\.batch: 2 is not accepted\. ncnn has no batches"),
        ("a: 5", r"boards\.yaml: a: 5 is not accepted\. Give a mapping"),
        ("a:", r"boards\.yaml: a: nothing is not accepted\. Give a mapping"),
        ("5: {}", r"boards\.yaml: devices: the name 5 is not text\. Put it in quotes"),
        ("a: {3: 4}", r"boards\.yaml: a: the name 3 is not text"),
        ("a: {threads: 1}\na: {threads: 2}", r"boards\.yaml: not YAML \(duplicate key 'a', line 2\)"),
        ("a: {threads: 1, threads: 2}", r"not YAML \(duplicate key 'threads'"),
        ("a: {", r"boards\.yaml: not YAML \(expected the node content.*, line 1\)"),
        ("a: !!python/object/apply:os.system [id]", r"not YAML \(could not determine a constructor"),
        ("a: &a {x: *a}", r"boards\.yaml: more than 100000 values by its aliases\. Write them out"),
        (BOMB, r"boards\.yaml: more than 100000 values by its aliases"),
        (f"a: {{transport: ssh, host: h, epoch: 0x{'f' * 5000}}}", r"boards\.yaml: a number beyond 2\^63"),
        ("a: {burst_ms: .nan}", r"boards\.yaml: nan is not a finite number"),
        ("a: {lock_wait_s: -.inf}", r"boards\.yaml: -inf is not a finite number"),
        (f"a: {{python: /{'a' * 5000}}}", r"a\.python: /aaa.* is not accepted"),
        (f"a: {{transport: ssh, host: h, known_hosts: {'a' * 5000}}}", r"a\.known_hosts: aaa.* is not accepted"),
        ("a: {x: &x {y: [1, 2]}, z: *x}", r"a: unknown key 'x'"),
        ("- 1", r"boards\.yaml: is not a mapping"),
        ("", r"boards\.yaml: no devices\. Write one: "),
        ("devices: {a: {}}", r"boards\.yaml: devices: a configuration, not a device file\. Use it as one: --config"),
        ("a b: {}", r"boards\.yaml: devices: 'a b' is not a valid name"),
        ("-oProxyCommand=x: {}", r"devices: '-oProxyCommand=x' is not a valid name"),
    ],
)  # fmt: skip
def test_mistakes_name_file_key_and_remedy(write, text, message):
    with pytest.raises(HakdError, match=message) as caught:
        find_devices([write(text)])
    assert caught.value.remedy and str(caught.value).isprintable()


def test_files_that_cannot_be_read(tmp_path, write):
    with pytest.raises(HakdError, match=r"nowhere\.yaml: cannot read \(No such file"):
        find_device(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(HakdError, match=r"cannot read \(Is a directory\)"):
        find_device(f"{tmp_path}/")
    (tmp_path / "latin.yaml").write_bytes(b"a: {python: /\xff}")
    with pytest.raises(HakdError, match=r"latin\.yaml: not YAML \("):
        find_device(str(tmp_path / "latin.yaml"))
    with pytest.raises(HakdError, match="more than 1 MiB"):
        read_yaml(Path(write("#" * (1 << 20) + "\na: {}")))
    with pytest.raises(HakdError, match="not YAML"):
        read_yaml(Path(write("[" * 100_000)))


def test_unknown_names_come_with_a_suggestion(elsewhere):
    with pytest.raises(HakdError, match=r"^config/config\.yaml: unknown device 'pi5'\. Did you mean 'pi4'\?"):
        find_device("pi5")
    with pytest.raises(HakdError, match=r"Known: pi4, here; or give the path of a device file"):
        find_device("quite-another")


def test_a_configuration_whose_registry_is_none(elsewhere):
    Path("config/config.yaml").write_text("devices: [pi4]")
    with pytest.raises(HakdError, match=r"config\.yaml: devices: is not a mapping of names"):
        find_device("pi4")
    Path("config/config.yaml").write_text("{}")
    with pytest.raises(HakdError, match="devices: no devices"):
        find_devices([])


def test_networks_are_checked_by_the_same_schema():
    check_entry("networks", "small", {"family": "mobilenet", "multiplier": 0.5}, CONFIG, "networks.")
    with pytest.raises(HakdError, match=r"f: networks\.small\.multiplier: 'x' is not accepted"):
        check_entry("networks", "small", {"multiplier": "x"}, CONFIG, "networks.")


def test_the_schema_and_the_device_know_the_same_keys():
    """A key that only one of them knows could be given and would do nothing, or be refused by the other."""
    schema = yaml.safe_load((CHECKOUT / "config" / "schemas" / "config.schema.yaml").read_text())
    (device,) = schema["properties"]["devices"]["patternProperties"].values()
    keys = set(device["properties"])
    assert keys >= set(SSH_KEYS) | {"transport", "engine", "threads", "batch", "cpus", "python", "epoch"}
    for key in keys:
        with pytest.raises(HakdError) as caught:
            check_entry("devices", "a", {key: object()}, CONFIG)
        assert "unknown key" not in caught.value.problem


# --- injection


def asked(word: str) -> Device | HakdError:
    """What becomes of a word of the command line."""
    try:
        return find_device(word).device
    except HakdError as error:
        return error


@given(st.sampled_from(FIELDS), st.sampled_from(HOSTILE) | st.text(max_size=80))
@example("host", "-oProxyCommand=x")
@example("jump", "u@-oProxyCommand=x")
@example("identity_file", "~/../-x")
def test_no_field_of_a_device_file_injects_anything(tmp_path_factory, field, value):
    """Refused with file and key before any process starts, or plain through and through."""
    path = tmp_path_factory.getbasetemp() / "injection.yaml"
    path.write_text(yaml.safe_dump({"board": {"transport": "ssh", "host": "board.lab", field: value}}))
    started = len(_STARTED)
    found = asked(str(path))
    if isinstance(found, HakdError):
        assert str(found).isprintable() and "board" in str(found) and str(path) in str(found)
        assert found.remedy
    else:
        assert re.fullmatch(PLAIN[field], value, re.ASCII)
        for word in [*ssh.flags(found), found.host, ssh.remote_command(found)]:
            assert "\n" not in word and "`" not in word and "$" not in word
        assert not str(found.host).startswith("-")
    assert _STARTED[started:] == []


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", HOSTILE)
def test_known_attacks_are_refused_in_every_field(write, field, value):
    path = write({"board": {"transport": "ssh", "host": "board.lab", field: value}})
    with pytest.raises(HakdError):
        find_device(path)


@given(st.text(min_size=1, max_size=70) | st.sampled_from(HOSTILE))
def test_a_name_is_plain_or_refused(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    path.write_text(yaml.safe_dump({name: {}}))
    found = asked(str(path))
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        assert isinstance(found, Device) and found.name == name
    else:
        assert isinstance(found, HakdError) and str(found).isprintable()


@given(st.text(max_size=60))
def test_any_word_of_the_command_line_is_a_device_or_an_error(word):
    found = asked(word)
    assert found.name == word if isinstance(found, Device) else found.remedy
