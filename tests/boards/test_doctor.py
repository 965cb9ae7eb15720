"""`hakd doctor` on this machine and on real boards behind sshd, healthy and sick in every way that can be made here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import yaml

from hakd.boards import open_board
from hakd.doctor import Report, examine, examine_all
from hakd.doctor.examine import PROBES, STATE
from hakd.doctor.findings import FAIL, NOTE, OK, SKIPPED, WARN
from hakd.records.code import CHECKOUT
from hakd.study.devices import find_device, find_devices
from tests.boards.rigs.needs import wait_until
from tests.boards.skipping import system_part


def written(path: Path, **devices) -> str:
    """A device file."""
    path.write_text(yaml.safe_dump(devices, sort_keys=False))
    return str(path)


def doctored(tmp_path: Path, device: dict) -> Report:
    return examine(find_device(written(tmp_path / "board.yaml", board=device)))


def marks(report: Report) -> dict[str, str]:
    return {finding.what: finding.status for finding in report.findings}


def told(report: Report, what: str) -> str:
    (finding,) = (found for found in report.findings if found.what == what)
    return f"{finding.value} -> {finding.remedy}"


def check_sick(report: Report, stage: str, passed: tuple[str, ...]) -> None:
    """One failure, at this stage; what came before was passed, nothing after it is claimed."""
    found = marks(report)
    assert [what for what, status in found.items() if status == FAIL] == [stage]
    assert [what for what, status in found.items() if status == OK] == list(passed)
    assert {found[what] for what in (*STATE, *PROBES)} == {SKIPPED}
    assert len(report.findings) == len(found)
    assert not report.fit and report.verdict() == f"board is unfit: {stage}"
    assert report.to_dict()["fingerprint"] is None


def test_this_machine_is_examined_whole(local, tmp_path):
    found = find_device(
        written(tmp_path / "here.yaml", here={"lock_path": str(tmp_path / "lock"), "min_step": 1.0})
    )
    start = time.monotonic()
    report = examine(found)
    assert time.monotonic() - start < 60
    status = marks(report)
    assert SKIPPED not in status.values()
    assert status.keys() >= {"reach", "lock", "python", "engine", *STATE, *PROBES}
    assert sys.version.split()[0] in told(report, "python") and "onnxruntime 1." in told(report, "engine")
    assert 0.2 < float(told(report, "call overhead").split()[0]) < 500
    assert "residual p95" in told(report, "noise")
    assert not list(tmp_path.glob("results*"))  # the probe's bursts were thrown away
    with open_board(found.device, tmp_path / "store") as board:
        assert report.to_dict()["fingerprint"] == board.fingerprint


def test_a_board_behind_ssh_is_examined_whole(sshd, tmp_path):
    report = doctored(tmp_path, sshd.device(min_step=1.0))
    status = marks(report)
    assert SKIPPED not in status.values() and status["login"] == status["host key"] == OK
    assert f"{sshd.user}@127.0.0.1 port {sshd.port}" in told(report, "reach")
    assert str(sshd.known_hosts) in told(report, "host key")
    wait_until(lambda: not sshd.agents() and not sshd.workers(), "nothing is left on the board")


SICK = {
    "reach": ({"port": 1}, "the connection is refused", ()),
    "login": ({"user": "nobody"}, "log-in refused", ("reach", "host key")),
    "python": ({"python": "/nowhere/python3"}, "does not run there", ("reach", "host key", "login")),
    "cpus": (
        {"cpus": [4095]},
        "Set cpus to some that the login may use",
        ("reach", "host key", "login", "python"),
    ),
    "lock": ({"lock_path": "/proc/nowhere"}, "cannot lock", ("reach", "host key", "login", "python")),
}


@pytest.mark.parametrize("stage", SICK)
def test_each_stage_of_the_way_fails_with_its_remedy(sshd, tmp_path, stage):
    changes, words, passed = SICK[stage]
    report = doctored(tmp_path, sshd.device(**changes))
    check_sick(report, stage, passed)
    assert words in told(report, stage) and not told(report, stage).endswith("-> ")


def test_a_key_file_that_is_not_there(sshd, tmp_path):
    report = doctored(tmp_path, sshd.device(identity_file=str(tmp_path / "no_key")))
    check_sick(report, "login", ("reach", "host key"))
    assert "no such file" in told(report, "login")


def test_a_key_file_that_others_can_read(sshd, tmp_path):
    sshd.identity_file.chmod(0o644)
    report = doctored(tmp_path, sshd.device())
    check_sick(report, "login", ("reach", "host key"))
    assert "chmod 600" in told(report, "login")


def test_an_unknown_and_a_changed_host_key(sshd, tmp_path):
    sshd.known_hosts.write_text("")
    report = doctored(tmp_path, sshd.device())
    check_sick(report, "host key", ("reach",))
    assert "unknown: it shows ssh-ed25519 SHA256:" in told(report, "host key")
    assert f"run `hakd pin {tmp_path / 'board.yaml'}`" in told(report, "host key")
    sshd.trust()
    sshd.change_host_key()
    report = doctored(tmp_path, sshd.device())
    check_sick(report, "host key", ("reach",))
    assert "changed: it shows ssh-ed25519 SHA256:" in told(report, "host key")
    assert "--replace`" in told(report, "host key")


def test_an_engine_that_is_missing(sshd, tmp_path):
    venv.create(tmp_path / "bare", symlinks=True)
    report = doctored(tmp_path, sshd.device(python=str(tmp_path / "bare" / "bin" / "python")))
    check_sick(report, "engine", ("reach", "host key", "login", "python", "lock"))
    assert "No module named" in told(report, "engine") and "Install onnxruntime and numpy" in told(
        report, "engine"
    )


def test_an_interpreter_that_is_none(sshd, tmp_path):
    report = doctored(tmp_path, sshd.device(python="/bin/true"))
    assert [what for what, status in marks(report).items() if status == FAIL] == ["agent"]
    assert "went away" in told(report, "agent")


def test_nothing_is_said_of_what_a_device_does_not_have(tmp_path):
    here = doctored(tmp_path, {"transport": "local", "python": "/nowhere/python3"})
    check_sick(here, "python", ("reach",))
    computed = doctored(tmp_path, {"transport": "virtual", "cost_model": {}})
    assert computed.fit and not marks(computed).keys() & {"host key", "login", "lock"}
    assert marks(computed)["python"] == marks(computed)["timed on"] == NOTE
    assert "None" not in computed.text()
    unreadable = doctored(tmp_path, {"transport": "virtual", "table": str(tmp_path / "t.csv")})
    check_sick(unreadable, "agent", ("reach",))
    assert f"{tmp_path / 't.csv'}: no such file" in told(unreadable, "agent")


def test_a_name_that_is_none_is_a_finding(tmp_path):
    report = doctored(tmp_path, {"transport": "ssh", "host": "pi4..lab", "user": "pi"})
    check_sick(report, "reach", ())
    assert "the host name is not known" in told(report, "reach")


def test_a_held_lock_names_its_holder_without_a_long_wait(sshd, tmp_path):
    entry = find_device(written(tmp_path / "board.yaml", board=sshd.device(lock_wait_s=3600)))
    with open_board(entry.device, tmp_path / "store"):
        (agent,) = sshd.agents()
        start = time.monotonic()
        report = examine(entry)
        assert time.monotonic() - start < 15
    check_sick(report, "lock", ("reach", "host key", "login", "python"))
    assert "the board is in use" in told(report, "lock") and f"process {agent.pid}" in told(report, "lock")


def test_a_chatty_login_is_noted(lab, tmp_path, monkeypatch):
    with system_part():
        board = lab.board(bashrc="echo Welcome; echo '@123 00000000 {}'", zones=(41.0, 86.0))
    path = written(tmp_path / "board.yaml", board=board.device(min_step=1.0))
    command = [*lab.enter, sys.executable, "-m", "hakd", "doctor", "--json", path]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    (content,) = json.loads(done.stdout)
    found = {one["what"]: one for one in content["findings"]}
    assert found["output"]["status"] == NOTE and "2 lines of its login shell" in found["output"]["value"]
    assert found["temperature"]["status"] == WARN and "86 degrees C" in found["temperature"]["value"]
    assert done.returncode == (0 if content["fit"] else 1)


def test_boards_are_examined_side_by_side_and_a_dead_one_holds_up_none(sshd, tmp_path):
    """The dead board's port swallows what is sent and never answers; this machine comes last."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = sshd.device(port=silent.getsockname()[1])
        alive = sshd.device(python="/nowhere/python3")
        here = {"lock_path": "/proc/nowhere"}
        path = written(tmp_path / "boards.yaml", here=here, dead=dead, alive=alive)
        reports = list(examine_all(find_devices([path])))
    assert [report.device for report in reports] == ["alive", "dead", "here"]
    assert {report.device: report.verdict() for report in reports} == {
        "alive": "alive is unfit: python",
        "dead": "dead is unfit: host key",
        "here": "here is unfit: lock",
    }


def test_a_jump_host_on_the_way(sshd, tmp_path):
    jump = f"{sshd.user}@127.0.0.1:{sshd.port}"
    report = doctored(tmp_path, sshd.device(jump=jump, python="/nowhere/python3"))
    check_sick(report, "python", ("reach", "host key", "login"))
    assert f"through jump host {jump}" in told(report, "reach")


def test_without_an_ssh_client_it_says_so(sshd, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    report = doctored(tmp_path, sshd.device())
    check_sick(report, "reach", ())
    assert "cannot start ssh" in told(report, "reach") and "openssh-client" in told(report, "reach")


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(sshd, tmp_path, transport):
    """The fixture `nothing_left` looks for what inherited this test's mark, on the board too."""
    device = sshd.device() if transport == "ssh" else {"lock_path": str(tmp_path / "lock")}
    path = written(tmp_path / "board.yaml", board=device)
    about = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "hakd", "doctor", path]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=about, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lock = sshd.folder / "lock" if transport == "ssh" else tmp_path / "lock"
    wait_until(lock.exists, "the session is open")
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert time.monotonic() - start < 8
    assert not list((tmp_path / "tmp").iterdir())
    shutil.rmtree(tmp_path / "tmp")
