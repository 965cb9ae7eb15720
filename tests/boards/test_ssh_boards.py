"""Boards over ssh that are noisy, slow, asked by many at once, or several: they measure as any other."""

import itertools
import json
import time
from dataclasses import replace

import pytest

from hakd.boards import open_board
from hakd.boards.device import Device
from hakd.records.errors import HakdError
from tests.boards.cases import Case
from tests.boards.points import QUICK, pointwise
from tests.boards.skipping import system_part

pytestmark = pytest.mark.beside

NOISE = r"printf 'Welcome to \033[31mboard\033[0m\n@0123 00000000 {}\nno end of line'; echo careful >&2"


def test_a_board_over_ssh_measures_what_local_does(sshd, local, tmp_path):
    """The same points on the same machine, once through sshd: same fingerprint of hardware, like times."""
    points = [pointwise(width, inputs=32, size=16) for width in (8, 256)]
    board_device = Device.from_config("board", sshd.device())
    found = {}
    for device in (local(), board_device):
        with open_board(device, tmp_path / device.name) as board:
            found[device.name] = board.measure(points, QUICK, progress=False)
            assert not board.failures and not board.noise
            print_ = found.setdefault("fingerprint", board.fingerprint)
            assert board.fingerprint == print_
    for point in points:
        times = [min(b.min_ns for b in found[name][point.key]) for name in ("local", "board")]
        assert max(times) < 2 * min(times)


def test_a_banner_and_a_chatty_login_do_not_disturb(lab, tmp_path):
    (tmp_path / "banner").write_text("Authorised use only.\n@0123 00000000 {}\n" * 20)
    with system_part():
        board = lab.board(bashrc=NOISE, settings={"Banner": str(tmp_path / "banner")})
    case = Case(board, tmp_path / "case", lab.enter)
    case.start()
    assert case.ended()["event"] == "done", case.last
    assert case.last["noise"] == 3  # the lines of .bashrc, the unfinished one too
    outcome = case.outcome("noise", None)
    assert not outcome.wrong and outcome.expected == 120


def test_a_slow_line_is_no_silence(lab, tmp_path):
    """A model that takes longer to send than any time-out for silence lasts: 15 s at the client, 8 s at the board."""
    with system_part():
        board = lab.board()
        board.narrow(700)
    case = Case(board, tmp_path / "case", lab.enter, widths=())
    sent_bytes = 4 * 560**2
    start = time.monotonic()
    client = case.start(bulky=[560])
    last = case.ended(timeout_s=120.0)
    assert last["event"] == "done", (last, client.log)
    assert set(last["found"].values()) == {40}
    assert time.monotonic() - start > max(15.0, sent_bytes * 8 / 700e3)


def test_eight_clients_at_a_small_board_take_turns(sshd, tmp_path):
    """sshd takes three log-ins at a time and turns the others away; all come through, none while another measures."""
    sshd.settings["MaxStartups"] = "3:100:3"
    sshd.restart()
    cases = [Case(sshd, tmp_path / f"case{number}", widths=(8, 16)) for number in range(8)]
    for case in cases:
        case.set_protocol(processes=1, rounds=10)
        case.start()
    for case in cases:
        last = case.ended(timeout_s=120.0)
        assert last["event"] == "done", (last, case.clients[-1].log)
    assert "MaxStartups" in sshd.log  # or this test shows nothing
    spans = []
    for case in cases:
        times = [burst["at_ns"] for burst in case.bursts()]
        assert len(times) == 20
        spans.append((min(times), max(times)))
    spans.sort()
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_boards_of_one_kind_are_different_devices(lab, tmp_path):
    """Two boards with the same hardware and software: their measurements do not mix, in one store."""
    with system_part():
        boards = [lab.board(zones=[41.5, 40.0]), lab.board(zones=[63.0])]
    cases = [Case(board, tmp_path / "shared", lab.enter) for board in boards]
    for case in cases:
        case.start()
        assert case.ended()["event"] == "done", case.last
    records = cases[0].records()
    assert len({record["folder"] for record in records}) == 2
    sessions = [record for record in records if record["type"] == "session"]
    about = sorted((s["context"]["host"], s["context"]["temperature_c"]) for s in sessions)
    assert about == [("board1", 41.5), ("board2", 63.0)]
    assert len(cases[0].bursts()) == 240


def test_boards_with_one_machine_id_do_not_share_their_measurements(sshd, gate, tmp_path):
    """As two of one SD image: only their host keys differ. Nothing of the second is measured, nothing answered."""
    store, points = tmp_path / "store", [pointwise(8)]
    first, second = (Device.from_config(board.folder.name, board.device()) for board in (sshd, gate))
    with open_board(first, store) as board:
        board.measure(points, QUICK, progress=False)
    with pytest.raises(HakdError, match=r"^device gate: host: has the machine-id of another board.*epoch: 2"):
        open_board(second, store).__enter__()
    with open_board(first, store) as board:
        assert board.measure(points, QUICK, progress=False) and board.timed == 0
    # Both open before either has measured: the later one is refused when it begins.
    other = tmp_path / "other"
    with open_board(first, other) as one, pytest.raises(HakdError, match="device gate: host"):  # noqa: PT012, SIM117
        with open_board(second, other) as two:
            one.measure(points, QUICK, progress=False)
            two.measure(points, QUICK, progress=False)
    assert len(list(other.glob("*/*.jsonl"))) == 1
    with open_board(replace(second, epoch=2), store) as board:  # the way out that the error names
        board.measure(points, QUICK, progress=False)
        assert board.timed > 0


def test_the_session_record_has_no_key_or_path_of_this_machine(sshd, tmp_path):
    case = Case(sshd, tmp_path / "case")
    case.start()
    assert case.ended()["event"] == "done"
    (head,) = [record for record in case.records() if record["type"] == "session"]
    text = json.dumps(head["device"])
    assert str(sshd.identity_file) not in text and str(sshd.known_hosts) not in text
