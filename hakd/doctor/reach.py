"""The connection to a board: ssh's configuration, the network, the host key, before any session is opened."""

import socket

from hakd.boards.device import Device
from hakd.boards.host_keys import SshRoute, holder, known_keys, others, shown_keys, ssh_route
from hakd.doctor.findings import FAIL, NOTE, OK, Report
from hakd.records.errors import HakdError

CONNECT_S = 5.0


def look_at_way(report: Report, device: Device) -> bool:
    """Report ssh's route, whether the port answers, and the host key; False where the examination ends here."""
    if device.transport != "ssh":
        report.add(OK, "reach", f"transport {device.transport}")
        return True
    try:
        route = ssh_route(device)
    except HakdError as error:
        report.add(FAIL, "reach", error.problem, error.remedy or "")
        return False
    place = f"{route.user}@{route.host} port {route.port}"
    if not route.direct:
        report.add(
            OK, "reach", f"{place}, through {f'jump host {device.jump}' if device.jump else 'a proxy'}"
        )
    elif not _answers(report, route, place):
        return False
    return _look_at_key(report, device, route)


def _answers(report: Report, route: SshRoute, place: str) -> bool:
    """Whether the port takes connections."""
    try:
        with socket.create_connection((route.host, route.port), CONNECT_S):
            pass
    except (OSError, UnicodeError) as error:  # UnicodeError: two dots in a row
        problem, remedy = _why(error, route)
        report.add(FAIL, "reach", f"{place}: {problem}", remedy)
        return False
    report.add(OK, "reach", place)
    return True


def _why(error: OSError | UnicodeError, route: SshRoute) -> tuple[str, str]:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "the host name is not known", "Check the spelling, or give an address"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused", f"Check that sshd runs there, at port {route.port}"
    words = "no answer" if isinstance(error, TimeoutError) else f"no answer ({error.strerror})"
    return words, "Check that the board is on and in reach of this machine"


def _look_at_key(report: Report, device: Device, route: SshRoute) -> bool:
    """Report the host key; an unknown or a changed one ends the examination, as it would end a session."""
    try:
        shown, known = shown_keys(device), known_keys(route)
    except HakdError as error:
        report.add(FAIL, "host key", error.problem, error.remedy or "")
        return False
    prints = ", ".join(f"{key.kind} {key.fingerprint}" for key in shown)
    file, old = holder(shown, known), others(shown, known)
    if file is not None:
        report.add(OK, "host key", f"{prints}, known in {file}")
        return True
    if old:
        place, key = old[0]
        report.add(
            FAIL,
            "host key",
            f"changed: it shows {prints}; {place} has {key.fingerprint}",
            f"If the board was set up again, compare fingerprints and run `hakd pin {device.name} --replace`;"
            " if not, somebody may be intercepting the connection",
        )
        return False
    if known:  # an authority, or keys of other types: ssh decides
        report.add(NOTE, "host key", f"{prints}; {known[0][0]} has a key of another kind")
        return True
    remedy = f"Compare its fingerprint with the board's and run `hakd pin {device.name}`"
    report.add(FAIL, "host key", f"unknown: it shows {prints}", remedy)
    return False
