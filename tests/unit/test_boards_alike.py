"""Boards with one machine-id are told apart by their host keys; a board that was set up again is still itself."""

import logging

import pytest

from hakd.boards import alike
from hakd.boards.alike import check_alike, known_as
from hakd.boards.device import Device
from hakd.boards.host_keys import HostKey
from hakd.boards.journal import Journal
from hakd.records.errors import HakdError

A, B, RSA = "ssh-ed25519 SHA256:a", "ssh-ed25519 SHA256:b", "ssh-rsa SHA256:r"


def session(name: str | None, *keys: str, source: str | None = "machine-id") -> dict:
    """The record of a session with a board that ssh knows by that name and those keys; None: not over ssh."""
    return {
        "type": "session",
        "device": {"name": "pi5"},
        "identity": {"epoch": 3},
        "context": {"serial_from": source},
        "known_as": {"name": name, "keys": sorted(keys)} if name else None,
    }


@pytest.fixture
def store(tmp_path):
    """Writes journals of earlier sessions, the oldest first; the folder."""

    def written(*records):
        for number, record in enumerate(records):
            journal = Journal(tmp_path / f"{number}.jsonl")
            journal.append([record, {"type": "run"}])
            journal.close()
        return tmp_path

    return written


def older(record: dict) -> dict:
    """As it was before keys were recorded."""
    return {key: value for key, value in record.items() if key != "known_as"}


ONE_BOARD = {
    "nothing was measured": [],
    "the same key": [session("pi5", B)],
    "by its address before": [session("10.0.0.7", B)],
    "one of several keys": [session("10.0.0.7", A, B)],
    "keys of another type say nothing": [session("pi4", RSA)],
    "on this machine": [session(None)],
    "before keys were recorded": [older(session("pi4", A))],
    "a new key under the same name, then an address": [session("pi4", A), session("pi4", B)],
    "both keys known for a while": [session("pi4", A), session("gate", A, B)],
}


@pytest.mark.parametrize("case", ONE_BOARD)
def test_one_board_goes_on(store, case, caplog):
    caplog.set_level(logging.WARNING)
    check_alike(store(*ONE_BOARD[case]), session("pi5", B))
    assert caplog.text == ""


TWO_BOARDS = {
    "another key and another name": [session("pi4", A)],
    "between its own sessions": [session("pi5", B), session("pi4", A), session("pi5", B)],
    "one of its types differs": [session("pi4", A, RSA)],
    "what says nothing ties nothing together": [session("pi4", A), session("pi4", RSA)],
}


@pytest.mark.parametrize("case", TWO_BOARDS)
def test_another_board_is_refused_with_a_remedy(store, case):
    folder = store(*TWO_BOARDS[case])
    with pytest.raises(
        HakdError, match=r"has the machine-id of another board: .*/\d\.jsonl was measured at pi4 "
    ) as caught:
        check_alike(folder, session("pi5", B))
    error = caught.value
    assert (error.where, error.key) == ("device pi5", "host")
    assert A in error.problem and f"pi5 has {B}" in error.problem
    assert "systemd-machine-id-setup" in error.remedy and "set `epoch: 4`" in error.remedy


def test_a_new_key_under_the_same_name_is_said_once(store, caplog):
    """The user has accepted it, or ssh had not connected."""
    folder = store(session("pi5", A))
    check_alike(folder, session("pi5", B))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "0.jsonl" in record.getMessage()
    assert "set `epoch: 4`" in record.getMessage()
    caplog.clear()
    (folder / "0.jsonl").unlink()
    check_alike(store(session("pi5", A), session("pi5", B)), session("pi5", B))
    assert not caplog.records


@pytest.mark.parametrize("now", [session(None), session("pi5", B, source="device-tree")])
def test_nothing_is_checked_without_ssh_or_where_the_hardware_has_a_number(store, now):
    check_alike(store(session("pi4", A)), now)


def test_damaged_and_empty_journals_are_left_to_others(store, tmp_path):
    (tmp_path / "9.jsonl").write_text("")
    (tmp_path / "8.jsonl").write_text("[1]\n")
    (tmp_path / "7.jsonl").write_text("{")
    check_alike(tmp_path, session("pi5", B))


def test_what_is_recorded_are_the_keys_that_ssh_goes_by(monkeypatch, tmp_path):
    known = tmp_path / "known_hosts"
    one, two = HostKey("[pi4.lab]:2222", "ssh-rsa", "b2xk"), HostKey("[pi4.lab]:2222", "ssh-ed25519", "bmV3")
    lines = [one.line, two.line, two.line, f"@revoked {one.line}", HostKey("gate", "ssh-rsa", "b2xk").line]
    known.write_text("".join(f"{line}\n" for line in lines))
    device = Device("pi4", "ssh", host="Pi4.lab", port=2222, known_hosts=str(known))
    keys = [f"ssh-ed25519 {two.fingerprint}", f"ssh-rsa {one.fingerprint}"]
    assert known_as(device) == {"name": "[pi4.lab]:2222", "keys": keys}
    known.write_text("@cert-authority *.lab ssh-rsa b2xk\n")
    assert known_as(device) is None
    monkeypatch.setattr(alike, "ssh_route", None)
    assert known_as(Device("local")) is None and known_as(Device("v", "virtual", cost_model={})) is None
