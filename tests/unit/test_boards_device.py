"""Device fields: what could reach a command line, a file name or a path is refused unless it fits its pattern."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import Device
from hakd.boards.local import command
from hakd.records.errors import HakdError

HOSTILE = [
    "-oProxyCommand=x",
    "--",
    "a\nb",
    "a\n",
    "`id`",
    "$(id)",
    "a b",
    "%h",
    "a;b",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "a\\b",
    "a\0b",
    "..",
    ".",
    "",
    "é",
    "a/b",
    "~",
    "*",
    "a" * 64,
    "{device}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name):
    with pytest.raises(HakdError, match="name"):
        Device(name)


@pytest.mark.parametrize("field", ["python", "lock_path"])
@pytest.mark.parametrize(
    "value", ["python3", "/a b", "/a\n", "/`id`", "/$(id)", "/%h", "-c", "/a;b", "", "/", "/~", "/a'"]
)
def test_hostile_paths_are_refused(field, value):
    with pytest.raises(HakdError, match=field):
        Device("board", **{field: value})


@given(st.text() | st.text(alphabet="aZ9._-%$`\n /", max_size=70))
def test_a_name_is_plain_or_refused(name):
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        assert Device(name).name == name
        return
    with pytest.raises(HakdError) as caught:
        Device(name)
    assert str(caught.value).isprintable()


@given(st.text() | st.from_regex(r"/[A-Za-z0-9._/-]+", fullmatch=True))
def test_a_python_path_is_plain_or_refused(path):
    try:
        device = Device("board", python=path)
    except HakdError:
        return
    assert re.fullmatch(r"/[A-Za-z0-9._/-]+", path, re.ASCII) and "\n" not in path
    assert command(device)[0] == path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads", 0),
        ("threads", True),
        ("threads", 1.0),
        ("threads", "1"),
        ("batch", -1),
        ("epoch", 0),
        ("epoch", None),
        ("reconnects", -1),
        ("reconnects", True),
        ("reconnects", 101),
        ("lock_wait_s", -1),
        ("lock_wait_s", float("nan")),
        ("lock_wait_s", "5"),
        ("transport", "telnet"),
        ("engine", "magic"),
        ("precision", "int3"),
        ("python", 5),
        ("lock_path", None),
        ("transport", ["local"]),
    ],
)
def test_values_out_of_range_are_refused_with_the_key(field, value):
    with pytest.raises(HakdError, match=field) as caught:
        Device.from_config("board", {field: value})
    assert caught.value.where == "device board" and caught.value.key == field and caught.value.remedy


def test_unknown_keys_are_refused_with_a_suggestion():
    with pytest.raises(HakdError, match=r"board: unknown key 'thread'. Did you mean 'threads'"):
        Device.from_config("board", {"thread": 1})
    with pytest.raises(HakdError, match="unknown key 'name'"):
        Device.from_config("board", {"name": "other"})


def test_a_whole_entry_is_taken():
    device = Device.from_config("pi-4.lab", {"threads": 4, "python": "/opt/venv/bin/python3", "epoch": 2})
    assert (device.name, device.threads, device.epoch, device.transport) == ("pi-4.lab", 4, 2, "local")
    assert command(device)[:2] == ["/opt/venv/bin/python3", "-u"]
