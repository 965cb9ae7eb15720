"""Boards that look alike: two of one SD image share a machine-id, so a fingerprint and a folder of measurements.

Over ssh, host keys distinguish them. Each session's record has the name under which the board's keys are known, and
the keys. A board that earlier sessions of the folder know by other keys is refused before it is measured.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hakd.boards import journal
from hakd.boards.device import Device
from hakd.boards.host_keys import known_keys, ssh_route
from hakd.records.errors import HakdError

log = logging.getLogger(__name__)
UNIQUE = "device-tree"  # a serial number that comes from there is the hardware's own
Record = Mapping[str, Any]


def known_as(device: Device) -> dict[str, Any] | None:
    """How ssh knows a board that it has connected to: `name` in the files of known hosts, and its `keys` there.

    A key is its type and its fingerprint. None without ssh, and where no file has a key (then an authority has signed
    the board's key).
    """
    if device.transport != "ssh":
        return None
    route = ssh_route(device)
    keys = {f"{key.kind} {key.fingerprint}" for _, key in known_keys(route) if not key.marker}
    return {"name": route.name, "keys": sorted(keys)} if keys else None


def check_alike(folder: Path, session: Record) -> None:
    """Refuse a board when a session in the folder of its device identity was one of another board.

    Sessions belong to one board if they share a key, or the name: the user has accepted a changed key of the same name.
    Keys of different types prove nothing, and neither do sessions without keys or older records. A board whose serial
    number comes from its hardware needs no check.

    Args:
        folder: of the device identity in the store.
        session: the session record of the board that is open now.

    Raises:
        HakdError: an earlier session has another name, and another key of a type that this board has too.
    """
    known = session["known_as"]
    if known is None or session["context"].get("serial_from") == UNIQUE:
        return
    names, keys, latest = {known["name"]}, set(known["keys"]), True
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        then = journal.head(path).get("known_as")
        if not then:
            continue
        differs = keys.isdisjoint(then["keys"])
        if then["name"] in names or not differs:
            if differs and latest:
                _warn(session, path)
            names.add(then["name"])
            keys.update(then["keys"])
        elif _types(keys) & _types(then["keys"]):
            raise _refused(session, path, then)
        latest = False


def _types(keys: Iterable[str]) -> set[str]:
    return {key.split()[0] for key in keys}


def _warn(session: Record, path: Path) -> None:
    log.warning(
        "device %s: its host key differs from that of %s, whose measurements count; for another board set `epoch: %d`",
        *(session["device"]["name"], path, session["identity"]["epoch"] + 1),
    )


def _refused(session: Record, path: Path, then: Record) -> HakdError:
    name, now = session["device"]["name"], session["known_as"]
    problem = (
        f"has the machine-id of another board: {path} was measured at {then['name']} with the host key"
        f" {', '.join(then['keys'])}, {now['name']} has {', '.join(now['keys'])}"
    )
    remedy = (
        "Boards made from one SD image need a machine-id each. On this board run"
        " `sudo rm -f /etc/machine-id /var/lib/dbus/machine-id && sudo systemd-machine-id-setup`."
        f" If it is the same board with a new key and a new address, set `epoch: {session['identity']['epoch'] + 1}`"
    )
    return HakdError(problem, where=f"device {name}", key="host", remedy=remedy)
