"""What one logs in with, what the board lacks, its clock, and others who use it."""

import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

from tests.boards.cases import Case
from tests.boards.faults.registry import START_S, fault
from tests.boards.rigs.needs import library


@fault(
    "host key unknown",
    "error",
    says="known_hosts: its host key is unknown .*hakd pin board",
    within_s=START_S,
)
def host_key_unknown(case: Case) -> None:
    case.strike(lambda: case.board.known_hosts.write_text(""))
    case.start()
    case.ended()
    case.board.trust()


@fault(
    "host key changed",
    "error",
    says="known_hosts: its host key is not the one that is known .*hakd pin board",
    within_s=START_S,
)
def host_key_changed(case: Case) -> None:
    case.strike(case.board.change_host_key)
    case.start()
    case.ended()
    case.board.trust()


@fault(
    "key file readable by all",
    "error",
    says="identity_file: .*others can read its file.*chmod 600",
    within_s=START_S,
)
def key_file_readable(case: Case) -> None:
    case.strike(lambda: case.board.identity_file.chmod(0o644))
    case.start()
    case.ended()
    case.board.identity_file.chmod(0o600)


@fault("wrong user", "error", says="user: log-in refused .*Permission denied", within_s=START_S)
def wrong_user(case: Case) -> None:
    case.strike(lambda: None)
    case.start(user="somebody")
    case.ended()


@fault("wrong key", "error", says="user: log-in refused .*Permission denied", within_s=START_S)
def wrong_key(case: Case) -> None:
    case.strike(lambda: case.board.authorized_keys.rename(case.board.folder / "elsewhere"))
    case.start()
    case.ended()
    (case.board.folder / "elsewhere").rename(case.board.authorized_keys)


@fault(
    "no such Python on the board",
    "error",
    says="python: /opt/no/python3 does not run there .*Install Python 3.8",
    within_s=START_S,
)
def python_missing(case: Case) -> None:
    case.strike(lambda: None)
    case.start(python="/opt/no/python3")
    case.ended()


@fault(
    "engine missing on the board",
    "error",
    says="engine: the engine does not run there .*Install onnxruntime",
    within_s=START_S,
)
def engine_missing(case: Case) -> None:
    bare = case.folder / "bare"
    venv.create(bare, symlinks=True)
    case.strike(lambda: None)
    case.start(python=str(bare / "bin" / "python"))
    case.ended()


@fault("another version of the engine during a study", "error", says=r"engine.*9\.9\.9", within_s=20)
def engine_changed(case: Case) -> None:
    """The next worker finds the real engine under another version, as after an upgrade in another shell."""
    upgrade = _another_engine(case)
    case.sweeping()
    case.strike(upgrade)
    case.ended()


@fault(
    "another engine after a lost link",
    "error",
    says=r"engine: another board or engine than before the link was lost.* then, onnxruntime 9\.9\.9",
    within_s=20,
)
def engine_changed_while_away(case: Case) -> None:
    upgrade = _another_engine(case)
    case.sweeping()
    case.strike(lambda: (upgrade(), [process.kill() for process in case.board.sessions()]))
    case.ended()


@fault(
    "another host key after a lost link",
    "error",
    says="known_hosts: its host key is not the one that is known .*hakd pin board",
    within_s=START_S,
)
def host_key_changed_while_away(case: Case) -> None:
    """What a later try cannot mend is no reason for one."""
    case.sweeping()
    case.strike(lambda: (case.board.change_host_key(), [process.kill() for process in case.board.sessions()]))
    case.ended()
    if "(try 2 of 3)" in case.clients[-1].log:
        case.notes.append("a second try was made")
    case.board.trust()


def _another_engine(case: Case) -> Callable[[], object]:
    """Give the board a Python whose engine is the real one, and under another version once the result is called."""
    import onnxruntime

    site, other = case.folder / "site", case.folder / "upgrade" / "onnxruntime"
    other.mkdir(parents=True)
    site.mkdir()
    real = Path(onnxruntime.__file__).parent
    for path in real.iterdir():
        if path.name not in ("__init__.py", "__pycache__"):
            (other / path.name).symlink_to(path)
    (other / "__init__.py").write_text((real / "__init__.py").read_text() + '\n__version__ = "9.9.9"\n')
    case.device["python"] = case.board.wrapper(f"PYTHONPATH='{site}' exec '{sys.executable}' \"$@\"")
    return lambda: other.rename(site / "onnxruntime")


@fault("the board's clock is nine years behind, then jumps five years ahead", "done")
def clock_off(case: Case) -> None:
    when = case.folder / "clock"
    when.write_text("-9y\n")
    case.board.environment |= {
        "LD_PRELOAD": library("libfaketime.so.1"),
        "FAKETIME_TIMESTAMP_FILE": str(when),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    case.board.restart()
    client = case.sweeping()
    case.strike(lambda: when.write_text("+5y\n"))
    case.ended()
    years = (client.events[0]["context"]["wall_clock_s"] - time.time()) / (365.25 * 86400)
    if not -9.1 < years < -8.9:
        case.notes.append(f"the record has the clock {years:.2f} years off")


@fault("two clients at the same time, one store", "done")
def two_clients(case: Case) -> None:
    first, second = case.start(), case.start()
    case.strike(lambda: None)
    assert case.ended(first)["event"] == "done", case.last
    case.ended(second)
    waited = ["waiting for the board" in client.log for client in (first, second)]
    if sum(waited) != 1:
        case.notes.append(f"who waited: {waited}")
