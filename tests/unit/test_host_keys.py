"""Files of known hosts: what is edited changes, everything else stays byte by byte; fingerprints as ssh-keygen's."""

import base64
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import ssh
from hakd.boards.device import Device
from hakd.boards.host_keys import (
    HostKey,
    edited,
    holder,
    keys_in,
    known_keys,
    others,
    parse,
    ssh_route,
    write_keys,
)
from hakd.records.errors import HakdError


def key(text: str, kind: str = "ssh-ed25519", names: str = "board") -> HostKey:
    return HostKey(names, kind, base64.b64encode(text.encode()).decode())


OLD, NEW, OTHER = key("old"), key("new"), key("other", names="gate")
COMMENTED = f"# hosts of the lab\n\n{OTHER.line} comment of gate\n"


def test_a_key_is_added_and_the_rest_stays():
    assert edited("", "board", [NEW]) == f"{NEW.line}\n"
    assert edited(COMMENTED, "board", [NEW]) == COMMENTED + f"{NEW.line}\n"
    assert (
        edited(COMMENTED.rstrip("\n"), "board", [NEW]) == COMMENTED + f"{NEW.line}\n"
    )  # no newline at the end


def test_other_keys_of_the_name_go():
    text = f"{OLD.line}\n{COMMENTED}{key('rsa', 'ssh-rsa').line}\n"
    assert edited(text, "board", [NEW]) == COMMENTED + f"{NEW.line}\n"
    assert edited(edited(text, "board", [NEW]), "board", [NEW]) == edited(text, "board", [NEW])


def test_a_line_keeps_its_other_names():
    text = f"board,10.0.0.7 ssh-ed25519 {OLD.key} kept\n"
    assert edited(text, "board", [NEW]) == f"10.0.0.7 ssh-ed25519 {OLD.key} kept\n{NEW.line}\n"


@pytest.mark.parametrize(
    "line", ["@revoked board ssh-ed25519 b2xk", "*.lab ssh-ed25519 b2xk", "board", "board x !"]
)
def test_marked_lines_wildcards_and_damaged_lines_stay(line):
    assert edited(f"{line}\n", "board", [NEW]) == f"{line}\n{NEW.line}\n"


names = st.from_regex(r"[a-z0-9.\[\]:-]{1,12}", fullmatch=True)
keys = st.builds(
    HostKey, names, st.sampled_from(["ssh-ed25519", "ssh-rsa"]), st.sampled_from(["b2xk", "bmV3"])
)
lines = st.one_of(keys.map(lambda one: one.line), st.from_regex(r"#[a-z ]{0,9}", fullmatch=True), st.just(""))


@given(st.lists(lines, max_size=8), names, st.lists(keys, min_size=1, max_size=2))
def test_an_edited_file_has_these_keys_of_the_name_and_all_other_lines(before, name, wanted):
    text = edited("".join(f"{line}\n" for line in before), name, wanted)
    found = [one for line in text.splitlines() if (one := parse(line)) and one.is_for(name)]
    assert [(one.kind, one.key) for one in found] == [(one.kind, one.key) for one in wanted]
    stay = [line for line in before if (one := parse(line)) is None or not one.is_for(name)]
    assert text.splitlines()[: len(stay)] == stay


def test_what_ssh_calls_changed():
    other_type = key("rsa", "ssh-rsa")
    assert holder([NEW], [("a", OLD), ("b", NEW)]) == "b"
    assert holder([NEW], [("a", OLD)]) is None and others([NEW], [("a", OLD), ("b", other_type)]) == [
        ("a", OLD)
    ]
    assert others([NEW], [("b", other_type)]) == []
    assert holder([NEW], [("a", HostKey("board", NEW.kind, NEW.key, "@revoked"))]) is None


def test_hashed_names_and_fingerprints_are_those_of_ssh_keygen(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    kind, text, _ = path.with_suffix(".pub").read_text().split()
    made = HostKey("board", kind, text)
    told = subprocess.run(["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, text=True).stdout
    assert told.split()[1] == made.fingerprint
    known = tmp_path / "known_hosts"
    known.write_text(f"{COMMENTED}{made.line}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    (hashed,) = keys_in(known, "board")
    assert hashed.names.startswith("|1|") and hashed.is_for("board") and not hashed.is_for("boar")
    assert hashed.same_key(made)
    write_keys(known, "board", [NEW])
    assert [one.key for one in keys_in(known, "board")] == [NEW.key]
    assert [one.key for one in keys_in(known, "gate")] == [OTHER.key]


def test_lines_that_ssh_would_not_understand_are_left_alone():
    strange = "board ssh-ed25519 schl\u00fcssel\n|1|s\u00e4lz|hash ssh-ed25519 AAAA\n"
    assert edited(strange, "board", [NEW]) == strange + f"{NEW.line}\n"


def test_files_are_written_whole_with_their_mode_through_links(tmp_path):
    path, link = tmp_path / "deep" / "known_hosts", tmp_path / "link"
    write_keys(path, "board", [OLD])
    path.chmod(0o600)
    link.symlink_to(path)
    write_keys(link, "board", [NEW])
    assert link.is_symlink() and path.read_text() == f"{NEW.line}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["known_hosts"]


@pytest.mark.parametrize("text", ["alias ll='ls -l'\n", "root:x:0:0::/root:/bin/bash\n", "one two\n", "\0\n"])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / ".bashrc"
    path.write_text(text)
    with pytest.raises(HakdError, match=r"\.bashrc: not a file of known hosts"):
        write_keys(path, "board", [NEW])
    assert path.read_text() == text
    path.write_text("# nothing yet\n\n")
    write_keys(path, "board", [NEW])
    assert path.read_text() == f"# nothing yet\n\n{NEW.line}\n"


def test_only_plain_files_are_written(tmp_path):
    """With `known_hosts: /dev/null`, root would have put a file in its place."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(HakdError, match="not a regular file"):
            write_keys(path, "board", [NEW])
    assert (tmp_path / "pipe").is_fifo()


def test_two_writers_do_not_lose_each_others_lines(tmp_path):
    path = tmp_path / "known_hosts"
    threads = [threading.Thread(target=write_keys, args=(path, f"board{i}", [NEW])) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.names for line in path.read_text().splitlines() if (one := parse(line))} == {
        f"board{i}" for i in range(20)
    }


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HakdError, match=r"file.known_hosts: cannot write \("):
        write_keys(tmp_path / "file" / "known_hosts", "board", [NEW])


def test_the_way_is_the_one_ssh_would_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ssh, "CHECKOUT", tmp_path)
    device = Device("b", "ssh", host="Board.lab", user="pi", port=2222, known_hosts=str(tmp_path / "kh"))
    found = ssh_route(device)
    assert (found.host.lower(), found.port, found.user, found.direct) == ("board.lab", 2222, "pi", True)
    assert found.name == "[board.lab]:2222" and found.files == (str(tmp_path / "kh"),)
    assert ssh_route(Device("b", "ssh", host="board.lab", user="pi", jump="gate:22")).direct is False
    (tmp_path / "config").mkdir()
    Path("config/known_hosts").write_text("")
    assert ssh_route(Device("b", "ssh", host="board.lab")).files[0] == "config/known_hosts"


@pytest.mark.parametrize("host", ["fe80::1%lo", "FE80:0::1%lo", f"{'board.' * 41}lab.net", "John-s.board"])
@pytest.mark.parametrize("port", [22, 2222])
def test_any_name_is_looked_up_as_ssh_writes_it(tmp_path, monkeypatch, host, port):
    """A key that is written for a host is found again, by ssh-keygen and by us, whatever folder it lies in."""
    checkout = tmp_path / "a b%h"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ssh, "CHECKOUT", checkout)
    plain = "fe80::1%lo" if host.lower().startswith("fe80") else host.lower()
    name = plain if port == 22 else f"[{plain}]:{port}"
    write_keys(checkout / ssh.PROJECT_KNOWN_HOSTS, name, [OLD])
    write_keys(Path(ssh.PROJECT_KNOWN_HOSTS), name, [NEW])
    route = ssh_route(Device("b", "ssh", host=host, port=port, user="john.doe"))
    assert (route.name, route.port, route.user, route.direct) == (name, port, "john.doe", True)
    assert [(file, one.key) for file, one in known_keys(route)] == [
        ("config/known_hosts", NEW.key),
        (f"{checkout}/config/known_hosts", OLD.key),
    ]
