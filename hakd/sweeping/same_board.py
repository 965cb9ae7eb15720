"""Choosing, verifying and benchmarking belong to one board with one engine: a change in between is refused."""

from collections.abc import Mapping
from typing import Any

from hakd.boards import Board
from hakd.records.errors import HakdError, make_again

KEYS = ("fingerprint", "engine", "engine_version")


def seen(metadata: Mapping[str, Any], where: object) -> dict[str, str]:
    """Fingerprint, engine and engine version, from a latency table's metadata or a list of candidates.

    Raises:
        HakdError: a file that does not say on which device it was measured.
    """
    missing = [key for key in KEYS if not isinstance(metadata.get(key), str)]
    if missing:
        raise HakdError(
            "does not say on which device it was measured",
            where=where,
            key=missing[0],
            remedy=f"{make_again(where)}; what was measured is kept",
        )
    return {key: metadata[key] for key in KEYS}


def state_of(board: Board) -> dict[str, str]:
    """The state of an open board now, by `KEYS`."""
    return {
        "fingerprint": board.fingerprint,
        "engine": board.device.engine,
        "engine_version": board.engine_version,
    }


def refuse_change(board: Board, before: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to continue with a board that has changed.

    Args:
        board: open.
        before: {file: what it was measured on (`seen`)}, for every file that the next steps use: of all networks.

    Raises:
        HakdError: one of them was measured on another board, or with another engine or version.
    """
    now = state_of(board)
    changed = {path: then for path, then in before.items() if dict(then) != now}
    if not changed:
        return
    path, then = next(iter(changed.items()))
    others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    same_engine = all(then[key] == now[key] for key in KEYS[1:])
    what = (
        "is another board, or has other CPU features or another precision,"
        if same_engine
        else "has another engine"
    )
    name, epoch = board.device.name, board.device.epoch
    raise HakdError(
        f"{what} than {path}{others} was made with: {in_words(then)} then, {in_words(now)} now",
        where=f"device {name}",
        key="engine",
        remedy=f"Restore the earlier state, or measure everything again: set `epoch: {epoch + 1}` for {name} in the "
        "configuration and run again",
    )


def in_words(state: Mapping[str, str]) -> str:
    """Engine, version and board of a state (`KEYS`)."""
    return f"{state['engine']} {state['engine_version']} (fingerprint {state['fingerprint']})"
