"""Branches of devices: which board they need, what is tracked, what they have brought."""

import os

import pytest

from hakd.boards.device import REACH_KEYS, Device
from hakd.study.branches import reach, states, summary_path, tokens, tracked

PI = {
    "transport": "ssh",
    "host": "pi4",
    "user": "pi",
    "port": 22,
    "lock_path": "/tmp/l",
    "threads": 4.0,
    "epoch": 1,
}
RUN = {"devices": ["pi", "local"], "networks": ["tiny", "other"], "levels": [0.5, 0.25], "seeds": [0]}
CONFIG = {"run": RUN, "devices": {"pi": PI, "local": {"transport": "local"}}}


def log(name: str, text: str, at: float) -> None:
    """The log of a job, written at a time of day."""
    path = f"results/logs/{name}.log"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(text)
    os.utime(path, (at, at))


def failed(words: str) -> str:
    """What the log of a failed job holds."""
    return f"2026-11-20 16:29:42,097 looked\n2026-11-20 16:29:43,001 error: {words}\n"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """All paths are relative to the study's folder."""
    monkeypatch.chdir(tmp_path)


def test_entries_at_one_address_share_a_board():
    devices = {
        "one": PI,
        "four": {**PI, "user": "root", "threads": 1, "lock_path": "/run/l"},
        "door.2-b": {**PI, "port": 2222},
        "behind": {**PI, "jump": "gate"},
        "local": {"transport": "local"},
        "pair": {"transport": "local", "batch": 2},
        "model": {"transport": "virtual"},
        "other": {"transport": "virtual"},
    }
    assert tokens(devices) == {
        "one": "board_one", "four": "board_one", "door.2-b": "board_door_2_b", "behind": "board_behind",
        "local": "board_local", "pair": "board_local", "model": "board_model", "other": "board_other",
    }  # fmt: skip


def test_a_setting_is_either_tracked_or_says_how_to_reach_the_board():
    first, second = tracked(CONFIG, "pi"), reach(CONFIG, "pi")
    assert {**first, **second} == PI and not set(first) & set(second)
    assert set(second) == {"user", "port", "lock_path"}
    assert first["threads"] == 4 and type(first["threads"]) is int
    # Every key of a device is one or the other on purpose.
    assert set(REACH_KEYS) <= set(Device.__dataclass_fields__)
    assert {"host", "python", "engine", "threads", "cpus", "epoch"}.isdisjoint(REACH_KEYS)


def test_states_tell_results_and_later_trouble():
    assert states(CONFIG) == {
        "pi": {"digest": None, "trouble": None},
        "local": {"digest": None, "trouble": None},
    }
    log("sweep/tiny-pi", failed("device pi: host: no answer"), 100)
    log("snap/other-0.25-pi", failed("device pi: it has another engine"), 90)
    log("sweep/tiny-pi2", failed("device pi2: another device"), 200)
    assert states(CONFIG)["pi"] == {"digest": None, "trouble": "device pi: host: no answer"}
    os.makedirs(os.path.dirname(summary_path("pi")))
    with open(summary_path("pi"), "w") as stream:
        stream.write("a")
    os.utime(summary_path("pi"), (150, 150))
    done = states(CONFIG)["pi"]
    assert done["trouble"] is None and len(done["digest"]) == 16
    log("benchmark/pi", failed("device pi: the link was lost"), 160)
    assert states(CONFIG)["pi"] == {**done, "trouble": "device pi: the link was lost"}
    with open(summary_path("pi"), "w") as stream:
        stream.write("b")
    assert states(CONFIG)["pi"]["digest"] != done["digest"]


def test_the_last_error_of_a_log_counts_and_a_log_without_one_is_no_trouble():
    log("sweep/tiny-pi", failed("first") + failed("device pi: last"), 100)
    log("sweep/other-pi", "2026-11-20 16:29:42,097 8 of 8 curves trusted\nno error: here\n", 200)
    assert states(CONFIG)["pi"]["trouble"] == "device pi: last"
