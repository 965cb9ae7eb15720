"""`hakd pin`: show a board's host key, ask, and write it into the project's known hosts."""

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from hakd.boards import ssh
from hakd.boards.device import Device
from hakd.boards.host_keys import HostKey, holder, known_keys, others, shown_keys, ssh_route, write_keys
from hakd.records.errors import HakdError

Say = Callable[[str], None]
Ask = Callable[[str], str]
_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa", "ssh-dss": "dsa"}


def pin(
    device: Device,
    fingerprints: Collection[str] = (),
    replacing: bool = False,
    say: Say = print,
    ask: Ask | None = None,
) -> None:
    """Pin the host keys of a device, that of its jump host first.

    Args:
        device: the board.
        fingerprints: accept a key without asking if its fingerprint is one of these, and refuse it otherwise.
        replacing: a known key may be replaced by another one.
        say: prints a line.
        ask: asks a question and returns the answer; None: there is no terminal to ask at.

    Raises:
        HakdError: no answer, no terminal, a refused or different key; no key was written then.
    """
    if device.transport != "ssh":
        say(f"{device.name}: nothing to pin: transport {device.transport} has no host key")
        return
    jump = ssh.jump_device(device)
    if jump is not None:
        _pin_one(jump, f"{device.name}, jump host", fingerprints, replacing, say, ask)
    _pin_one(device, device.name, fingerprints, replacing, say, ask)


def pinned_file(device: Device) -> Path:
    """Where the keys of a device are written: its own `known_hosts`, else the project's."""
    return Path(device.known_hosts or ssh.PROJECT_KNOWN_HOSTS)


def _pin_one(
    device: Device, label: str, fingerprints: Collection[str], replacing: bool, say: Say, ask: Ask | None
) -> None:
    route, file = ssh_route(device), pinned_file(device)
    shown = shown_keys(device)
    name = shown[0].names
    known = known_keys(replace(route, name=name, files=tuple(dict.fromkeys((str(file), *route.files)))))
    how = "" if route.direct else ", through the jump host"
    say(f"{label}: {route.host} port {route.port}{how} shows the host key")
    for key in shown:
        say(f"  {key.kind:<20} {key.fingerprint}")
    place = holder(shown, known)
    if place is not None:
        say(f"It is known: {place}. Nothing to do.")
        return
    old = others(shown, known)
    for place, key in old:
        say(f"{place} has another key:")
        say(f"  {key.kind:<20} {key.fingerprint}")
    if old and not replacing:
        raise HakdError(
            "another host key is known",
            where=f"device {device.name}",
            key="known_hosts",
            remedy="If the board was set up again, run this with --replace;"
            " if not, somebody may be intercepting the connection",
        )
    _confirm(device, shown, fingerprints, file, say, ask)
    write_keys(file, name, shown)
    say(f"Pinned in {file}.")
    for place in dict.fromkeys(place for place, _ in old if place != str(file)):
        say(f"The old key is still in {place}, which does no harm: ssh-keygen -R {name!r} -f {place}")


def _confirm(
    device: Device,
    shown: list[HostKey],
    fingerprints: Collection[str],
    file: Path,
    say: Say,
    ask: Ask | None,
) -> None:
    """Return if the keys are accepted.

    Raises:
        HakdError: they are not, or there is no terminal to ask at.
    """
    where = f"device {device.name}"
    if fingerprints:
        for key in shown:
            if key.fingerprint not in fingerprints:
                remedy = "Check on the board itself which one is right; nothing was written"
                problem = f"its fingerprint is {key.fingerprint}, not the one given"
                raise HakdError(problem, where=where, key="known_hosts", remedy=remedy)
        return
    if ask is None:
        remedy = "Run it in a terminal, or give --fingerprint SHA256:... as read on the board"
        raise HakdError(
            "cannot ask for confirmation without a terminal", where=where, key="known_hosts", remedy=remedy
        )
    say(
        "Compare it with what the board itself shows (at its own keyboard, or over a connection that you trust):"
    )
    for key in shown:
        say(f"  ssh-keygen -l -f /etc/ssh/ssh_host_{_FILES.get(key.kind, 'ecdsa')}_key.pub")
    answer = ask(f"Pin it in {file}? [yes/no, or the fingerprint] ").strip()
    if answer.lower() != "yes" and answer not in {key.fingerprint for key in shown}:
        remedy = "Compare the fingerprints, then run it again"
        raise HakdError("not accepted, nothing was written", where=where, key="known_hosts", remedy=remedy)


def at_the_terminal() -> Ask | None:
    """How to ask the user; None where stdin or stderr is not a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask
