"""From a device to an agent that has said hello: log in, wait for the lock; the same after a lost link."""

import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hakd.boards import agent, packing, schema, virtual
from hakd.boards.device import NEEDS, Device
from hakd.boards.link import TRANSPORTS, Link
from hakd.boards.lost import LinkLost
from hakd.boards.points import PROTOCOL
from hakd.records.errors import HakdError

log = logging.getLogger(__name__)
LEASE_S = 8.0
HELLO_S = 150.0  # a cold import of an engine from a slow card
BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between tries while sshd turns clients away
# Before the tries after a lost link; the last one also before all further ones.
AGAIN_AFTER_S = (1.0, 4.0, 16.0, 60.0)
Argv = Callable[[Device], list[str]]


def connect(device: Device, argv: Argv | None = None) -> tuple[Link, dict[str, Any]]:
    """Start an agent and wait for its hello; try again, with growing pauses, while sshd turns log-ins away.

    Args:
        device: the board.
        argv: command line that reaches the agent, when not as `device.transport` says.

    Raises:
        HakdError: no connection to the board (`LinkLost`), no such Python, no agent, no engine, a held lock, too few
            CPUs.
    """
    way = TRANSPORTS[device.transport]
    for back_off_s in (*BACK_OFF_S, None):
        link = Link(
            (argv or way.command)(device), Path(agent.__file__).read_text(), _config(device), device, way
        )
        try:
            return link, _hello(link, device)
        except HakdError:
            link.close()
            if back_off_s is None or not link.turned_away:
                raise
        except BaseException:
            link.close()
            raise
        log.info("device %s: sshd turns log-ins away; next try in about %g s", device.name, back_off_s)
        time.sleep(back_off_s * (0.5 + random.random()))  # so that many clients do not return together
    raise AssertionError("unreachable")


def connect_again(
    device: Device, lost: LinkLost, tried: int, argv: Argv | None = None
) -> tuple[Link, dict[str, Any], int]:
    """Connect to a board whose link was lost; a bounded number of tries with growing pauses, each one logged.

    An error that a later try cannot fix (another host key, a refused log-in, a missing engine) is raised immediately.

    Args:
        device: the board; `device.reconnects` is how many tries it has.
        lost: how the link was lost.
        tried: how many of the tries have been used since the board's last result.
        argv: as for `connect`.

    Returns:
        The link, the agent's hello, how many tries have been used now.

    Raises:
        HakdError: no try succeeded: `lost`, with the reason of the last one; or an error that no later try can fix.
    """
    # The agent that was cut off holds the lock until its lease ends.
    patient = replace(device, lock_wait_s=max(device.lock_wait_s, 2 * LEASE_S))
    last = lost
    while tried < device.reconnects:
        pause_s = 0.0 if device.transport == "virtual" else AGAIN_AFTER_S[min(tried, len(AGAIN_AFTER_S) - 1)]
        tried += 1
        place = "" if last.key is None else f"{last.key}: "
        log.warning(
            "%s: %s%s; connecting again in %g s (try %d of %d)",
            *(last.where, place, last.problem, pause_s, tried, device.reconnects),
        )
        time.sleep(pause_s)
        try:
            return *connect(patient, argv), tried
        except LinkLost as still:
            last = still
    raise lost.after(tried, last)


def _config(device: Device) -> dict[str, Any]:
    """The agent's first frame."""
    config = {
        "tag": secrets.token_hex(16),
        "protocol": PROTOCOL,
        "lease_s": LEASE_S,
        "lock_path": device.lock_path,
        "engine": device.engine,
        "threads": device.threads,
        "cpus": device.cpus,
        "worker": packing.worker_source(),
    }
    if device.transport == "virtual":
        config["virtual"] = virtual.settings(device)
    return config


def _hello(link: Link, device: Device) -> dict[str, Any]:
    """Wait for the lock for `lock_wait_s`, for everything else for `HELLO_S`; also by this machine's clock."""
    where, logged_s, heard_at = f"device {device.name}", 0.0, time.monotonic()
    waiting_at: float | None = None
    while True:
        for message in link.receive(HELLO_S):
            message = schema.check(message, ("waiting", "refusal", "hello", "beat"), where)
            if message["t"] != "beat":
                heard_at = time.monotonic()
            if message["t"] == "hello":
                return message
            if message["t"] == "refusal":
                raise _refused(device, message)
            if message["t"] == "waiting":
                holder = f"process {message['holder']}" if message["holder"] else "another user"
                place = f"{device.lock_path} is held by {holder}"
                waiting_at = heard_at if waiting_at is None else waiting_at
                if max(message["waited_s"], heard_at - waiting_at) >= device.lock_wait_s:
                    remedy = "Wait until it is done, or raise lock_wait_s"
                    raise HakdError(
                        f"the board is in use: {place}", where=where, key="lock_path", remedy=remedy
                    )
                if message["waited_s"] >= logged_s:
                    log.warning("%s: waiting for the board: %s", where, place)
                    logged_s = message["waited_s"] + 30.0
        if time.monotonic() - heard_at > HELLO_S:
            raise link.gone(f"only heartbeats for {HELLO_S:g} s")


def _refused(device: Device, message: dict[str, Any]) -> HakdError:
    """Why the agent cannot serve."""
    where, cause, detail = f"device {device.name}", message["cause"], message["detail"]
    if cause == "engine":
        needed = NEEDS.get(device.engine, device.engine)
        remedy = f"Install {needed} and numpy for that Python, or set `python`"
        return HakdError(
            f"the engine does not run there ({detail})", where=where, key="engine", remedy=remedy
        )
    if cause == "lock":
        remedy = "Set lock_path to a path that can be created on the device"
        return HakdError(f"cannot lock ({detail})", where=where, key="lock_path", remedy=remedy)
    if cause == "cpus":
        remedy = "Set cpus to some that the login may use"
        return HakdError(f"the login may use {detail}", where=where, key="cpus", remedy=remedy)
    if cause == "threads":
        remedy = "Set threads to at most the number of these CPUs"
        return HakdError(f"the login may use {detail}", where=where, key="threads", remedy=remedy)
    return HakdError(f"the agent refuses ({detail})", where=where, remedy="Run again")
