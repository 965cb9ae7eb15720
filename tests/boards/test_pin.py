"""`hakd pin` against real sshds: what is shown is right, what is written is what was accepted, nothing runs there."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hakd.boards.device import Device
from hakd.boards.host_keys import parse, shown_keys
from hakd.boards.pinning import pin
from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from tests.boards.rigs import Sshd

pytestmark = pytest.mark.beside


def fingerprint(board: Sshd) -> str:
    """Of the board's host key, as ssh-keygen tells it."""
    path = board.folder / "host_key.pub"
    done = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def project_device(board: Sshd, **changes) -> Device:
    """The board as a device without a known_hosts file of its own."""
    return Device.from_config("board", {**board_entry(board), **changes})


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory without any known hosts."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder / "config" / "known_hosts"


def pinned(device: Device, answer: str | None = None, **more) -> list[str]:
    """What `pin` says; the only answer that it gets is `answer`."""
    said: list[str] = []

    def ask(question: str) -> str:
        said.append(question)
        assert answer is not None
        return answer

    pin(device, say=said.append, ask=ask if answer is not None else None, **more)
    return said


def logins(board: Sshd) -> tuple[bool, bool]:
    """Whether anybody was let in, and whether a session was started."""
    return "Accepted" in board.log, "Starting session" in board.log


def test_an_accepted_key_is_what_the_board_has_and_sessions_take_it(sshd, project):
    said = pinned(project_device(sshd), "yes\n")
    assert any(fingerprint(sshd) in line for line in said)
    assert any("ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub" in line for line in said)
    assert said[-1] == "Pinned in config/known_hosts."
    (line,) = project.read_text().splitlines()
    found = parse(line)
    assert found is not None and found.names == f"[127.0.0.1]:{sshd.port}"
    assert found.fingerprint == fingerprint(sshd)
    assert logins(sshd) == (False, False)
    argv = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={project}"]
    login = ["-i", str(sshd.identity_file), "-p", str(sshd.port), f"{sshd.user}@127.0.0.1", "true"]
    assert subprocess.run(["ssh", *argv, *login]).returncode == 0


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "y\n", "SHA256:wrong\n"])
def test_any_other_answer_writes_nothing(sshd, project, answer):
    with pytest.raises(HakdError, match="not accepted, nothing was written"):
        pinned(project_device(sshd), answer)
    assert not project.exists()


def test_the_fingerprint_itself_is_an_answer(sshd, project):
    pinned(project_device(sshd), f"{fingerprint(sshd)}\n")
    assert project.exists()


def test_without_anybody_to_ask_only_the_right_fingerprint_counts(sshd, project):
    device = project_device(sshd)
    with pytest.raises(
        HakdError, match=r"cannot ask for confirmation without a terminal.*--fingerprint SHA256:"
    ):
        pinned(device)
    with pytest.raises(HakdError, match=r"its fingerprint is SHA256:.*, not the one given"):
        pinned(device, fingerprints=["SHA256:4eGmG4ReAY0DnWbfvMdsLxCyXBxfvq38S7sXq7q3Lbk"])
    assert not project.exists()
    pinned(device, fingerprints=[fingerprint(sshd)])
    assert pinned(device)[-1] == "It is known: config/known_hosts. Nothing to do."
    assert len(project.read_text().splitlines()) == 1


def test_a_changed_key_is_replaced_only_when_asked_for(sshd, project):
    device, old = project_device(sshd), fingerprint(sshd)
    project.parent.mkdir()
    other = "gate ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINuGvhmohA+emn5az4NpIL8SZsATCu2+kMFHeTgOmIhd"
    project.write_text(f"# of the lab\n{other} kept\n")
    pinned(device, "yes")
    before = project.read_text()
    sshd.change_host_key()
    with pytest.raises(HakdError, match=r"another host key is known.*--replace"):
        pinned(device, "yes")
    assert project.read_text() == before
    said = pinned(device, "yes", replacing=True)
    assert any(old in line for line in said) and any(fingerprint(sshd) in line for line in said)
    lines = project.read_text().splitlines()
    assert lines[:2] == ["# of the lab", f"{other} kept"] and len(lines) == 3
    assert parse(lines[2]).fingerprint == fingerprint(sshd) != old


def test_a_device_s_own_file_is_the_one_that_is_written(sshd, project, tmp_path):
    own = tmp_path / "keys" / "own hosts".replace(" ", "_")
    pinned(project_device(sshd, known_hosts=str(own)), "yes")
    assert parse(own.read_text()).fingerprint == fingerprint(sshd)
    assert not project.exists()


def test_a_folder_for_temporary_files_with_an_awkward_name(sshd, project, tmp_path, monkeypatch):
    awkward = tmp_path / "a b%h"
    awkward.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(awkward))
    assert shown_keys(project_device(sshd))[0].fingerprint == fingerprint(sshd)
    assert not list(awkward.iterdir())


def test_the_jump_host_is_pinned_first(sshd, gate, project):
    gate.authorized_keys.write_text((sshd.folder / "user_key.pub").read_text())
    device = project_device(sshd, jump=f"{gate.user}@127.0.0.1:{gate.port}")
    with pytest.raises(HakdError, match="cannot ask for confirmation"):
        pinned(device, fingerprints=[])
    with pytest.raises(HakdError, match=r"its fingerprint is SHA256"):
        pinned(device, fingerprints=[fingerprint(gate)])  # not the board's
    assert [parse(line).names for line in project.read_text().splitlines()] == [f"[127.0.0.1]:{gate.port}"]
    said = pinned(device, fingerprints=[fingerprint(gate), fingerprint(sshd)])
    assert "It is known: config/known_hosts. Nothing to do." in said
    assert any("through the jump host" in line for line in said)
    names = [parse(line).names for line in project.read_text().splitlines()]
    assert names == [f"[127.0.0.1]:{port}" for port in (gate.port, sshd.port)]
    assert logins(sshd) == (False, False)


def test_nothing_is_run_even_where_everybody_is_let_in(sshd, project, monkeypatch):
    """The key is fetched with a command that asks for no session at all."""
    from hakd.boards import host_keys

    seen: list[list[str]] = []
    run = host_keys._run
    monkeypatch.setattr(host_keys, "_run", lambda argv, timeout_s: seen.append(argv) or run(argv, timeout_s))
    shown_keys(project_device(sshd))
    (argv,) = seen
    assert "-N" in argv and argv[-2:] == ["--", "127.0.0.1"]
    assert argv.index("PreferredAuthentications=none") < argv.index("BatchMode=yes")


def test_nobody_there(sshd, project):
    with pytest.raises(HakdError, match=r"connection is refused"):
        pinned(project_device(sshd, port=1), "yes")


# --- at a terminal


def at_terminal(command: str, answer: bytes) -> tuple[int, str]:
    """Run a command of the shell at a pseudo-terminal and type an answer when it asks; (status, what was shown)."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=with_hakd(),
        start_new_session=True,
    )
    os.close(slave)
    shown, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            shown += os.read(master, 4096)
        except OSError:
            break
        if shown.rstrip().endswith(b"fingerprint]") and answer:
            os.write(master, answer)
            answer = b""
    os.close(master)
    return process.wait(10), shown.decode()


def with_hakd() -> dict[str, str]:
    """An environment with `hakd` of this checkout."""
    program = Path("bin", "hakd").absolute()
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hakd "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "PATH": f"{program.parent}:{os.environ['PATH']}"}


def board_entry(board: Sshd) -> dict:
    """The board's entry in a configuration, without a known_hosts file of its own."""
    return {key: value for key, value in board.device().items() if key != "known_hosts"}


def test_at_a_terminal_it_asks(sshd, project):
    Path("board.yaml").write_text(yaml.safe_dump({"board": board_entry(sshd)}))
    status, shown = at_terminal("hakd pin board.yaml", b"no\n")
    assert status == 1 and "error: device board" in shown and not project.exists()
    status, shown = at_terminal("hakd pin board.yaml", b"yes\n")
    assert status == 0 and fingerprint(sshd) in shown and "Pinned in config/known_hosts" in shown
    status, shown = at_terminal("hakd pin board.yaml", b"")
    assert status == 0 and "Nothing to do" in shown


# --- the remedy, typed as it is printed

RULE = """
rule look:
    output:
        "looked",
    log:
        "look.log",
    params:
        device=config["devices"]["board"],
    script:
        "look.py"
"""
SCRIPT = """
from pathlib import Path
from hakd.boards import Device, open_board
from hakd.study.scripting import reporting
with reporting(snakemake.log):
    with open_board(Device.from_config("board", snakemake.params.device), Path("store")) as board:
        Path(snakemake.output[0]).write_text(board.fingerprint)
"""


def test_the_remedy_of_a_study_in_another_folder_works_where_the_study_was_started(sshd, project):
    """The device stands in a file of the command line, its keys are sought in the study's folder."""
    head = (CHECKOUT / "Snakefile").read_text().split("include:")[0]
    Path("Snakefile").write_text(head.replace("workflow.basedir", repr(str(CHECKOUT))) + RULE)
    Path("look.py").write_text(SCRIPT)
    content = {"devices": {"board": board_entry(sshd)}, "run": {"devices": ["board"]}}
    Path("my boards.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "snakemake", "look", "--cores", "1", "--directory", "../a run"]
    command += ["--configfile", "my boards.yaml"]

    def run() -> tuple[int, str]:
        done = subprocess.run(command, env=with_hakd(), capture_output=True, text=True)
        return done.returncode, done.stderr

    status, said = run()
    assert status == 1 and "device board: known_hosts: its host key is unknown" in said
    remedy = re.findall(r"fingerprint with `(.*)`$", said, re.MULTILINE)[0]
    status, shown = at_terminal(remedy, b"yes\n")
    assert status == 0 and "Pinned in config/known_hosts" in shown and not project.exists()
    status, said = run()
    assert status == 0, said
    assert len(Path("../a run/looked").read_text()) == 16


def test_the_remedy_of_a_command_names_its_configuration_files(sshd, project):
    Path("more.yaml").write_text(yaml.safe_dump({"devices": {"board": board_entry(sshd)}}))
    command = ["hakd", "sweep", "board", "mobilenet", "--config", "more.yaml", "--out", "t.parquet"]
    done = subprocess.run(command, env=with_hakd(), capture_output=True, text=True)
    (remedy,) = re.findall(r"fingerprint with `(.*)`", done.stderr)
    assert at_terminal(remedy, b"yes\n")[0] == 0
    (line,) = project.read_text().splitlines()
    assert parse(line).fingerprint == fingerprint(sshd)
