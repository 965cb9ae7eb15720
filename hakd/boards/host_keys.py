"""Host keys: what a board shows, which of them are known, and files of known hosts edited line by line.

Keys are fetched with ssh itself, so that aliases, ports and jump hosts are those of a session; no authentication is
tried and no command is sent, so nothing runs on the board.
"""

import base64
import fcntl
import hashlib
import hmac
import os
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hakd.boards import ssh
from hakd.boards.device import Device
from hakd.records.errors import HakdError
from hakd.records.files import write_bytes
from hakd.records.text import printable

FETCH_S = 20.0
RESOLVE_S = 10.0
_FETCHING = (
    "StrictHostKeyChecking=accept-new",
    "GlobalKnownHostsFile=none",
    "HashKnownHosts=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "PreferredAuthentications=none",
)


@dataclass(frozen=True)
class HostKey:
    """A line of a known_hosts file: names as written there, type, key; marker: `@revoked`, `@cert-authority`."""

    names: str
    kind: str
    key: str
    marker: str = ""

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it: SHA256:..."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The line as in a file, without a comment."""
        return " ".join(word for word in (self.marker, self.names, self.kind, self.key) if word)

    def same_key(self, other: "HostKey") -> bool:
        """Whether both hold the same public key."""
        return (self.kind, self.key) == (other.kind, other.key)

    def is_for(self, name: str) -> bool:
        """Whether this line has the name, in clear or hashed; wildcards do not count."""
        return any(written == name or _hashed(written, name) for written in self.names.split(","))


def _hashed(written: str, name: str) -> bool:
    """Whether `|1|salt|hash` is the name's hash (HMAC-SHA1)."""
    words = written.split("|")
    if len(words) != 4 or words[:2] != ["", "1"]:
        return False
    try:
        salt, digest = (base64.b64decode(word, validate=True) for word in words[2:])
    except ValueError:  # binascii.Error, or letters that are not ASCII
        return False
    return hmac.compare_digest(digest, hmac.new(salt, name.encode(), hashlib.sha1).digest())


def parse(line: str) -> HostKey | None:
    """A line of a known_hosts file; None for comments, empty lines and lines that ssh cannot read either."""
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return None
    try:
        base64.b64decode(words[2], validate=True)
    except ValueError:
        return None
    return HostKey(words[0], words[1], words[2], marker)


# --- what a file holds


def edited(text: str, name: str, keys: Iterable[HostKey]) -> str:
    """A known_hosts file in which `name` has these keys and no others; all other lines stay as they are.

    A line that also holds other names keeps them. Lines with a marker or a wildcard stay.
    """
    lines = []
    for line in text.splitlines():
        found = parse(line)
        if found is None or found.marker or not found.is_for(name):
            lines.append(line)
            continue
        others = [word for word in found.names.split(",") if word != name and not _hashed(word, name)]
        if others:
            lines.append(line.replace(found.names, ",".join(others), 1))
    lines += [HostKey(name, key.kind, key.key).line for key in keys]
    return "".join(f"{line}\n" for line in lines)


def write_keys(path: Path, name: str, keys: Iterable[HostKey]) -> None:
    """Give `name` these keys in a file of known hosts, atomically; two writers do not lose each other's lines.

    Raises:
        HakdError: the folder or the file cannot be written, or the file is not one of known hosts.
    """
    path = path.expanduser()
    path = path.resolve() if path.is_symlink() else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            text, mode = "", None
            if path.exists():
                _refuse_other(path)
                text, mode = path.read_text(errors="surrogateescape"), path.stat().st_mode & 0o777
            write_bytes(path, edited(text, name, keys).encode(errors="surrogateescape"))
            if mode is not None:
                path.chmod(mode)
    except OSError as error:
        remedy = "Make it writable, or set `known_hosts` to another file"
        raise HakdError(f"cannot write ({error.strerror})", where=path, remedy=remedy) from None


def _refuse_other(path: Path) -> None:
    """Refuse a file that holds no known hosts: a device file of unknown origin may name any path.

    Raises:
        HakdError: a folder, a device such as /dev/null, or a file with other content.
    """
    remedy = "Set `known_hosts` to a file of known hosts, or to one that does not exist yet"
    if not path.is_file():
        raise HakdError("not a regular file", where=path, remedy=remedy)
    lines = [line for line in path.read_text(errors="surrogateescape").splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if lines and not any(map(parse, lines)):
        raise HakdError("not a file of known hosts", where=path, remedy=remedy)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other writers of this program out of a folder; ends with the process at the latest."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def keys_in(path: str | os.PathLike, name: str) -> list[HostKey]:
    """Keys of a name in a file of known hosts, as ssh-keygen finds them: hashed names and wildcards too."""
    file = Path(path).expanduser()
    if not file.is_file():
        return []
    done = _run(["ssh-keygen", "-F", name, "-f", str(file)], RESOLVE_S)
    found = (parse(line) for line in done.stdout.splitlines())
    return [key for key in found if key is not None]


# --- how ssh reaches a device


@dataclass(frozen=True)
class SshRoute:
    """How ssh would reach a device, by the device's entry and the user's ssh configuration (`ssh -G`).

    Attributes:
        host: name or address to connect to.
        port: of sshd.
        user: to log in as.
        direct: no jump host and no proxy command.
        name: under which host keys are known.
        files: of known hosts, in the order in which they count.
    """

    host: str
    port: int
    user: str
    direct: bool
    name: str
    files: tuple[str, ...]


def ssh_route(device: Device) -> SshRoute:
    """Ask ssh, without the network, how it would reach a device.

    Raises:
        HakdError: this machine has no ssh, or ssh does not accept its configuration.
    """
    assert device.host is not None
    done = _run([*ssh.flags(device), "-G", "--", device.host], RESOLVE_S)
    if done.returncode:
        raise HakdError(
            f"ssh does not accept its configuration ({_last(done.stderr)})",
            where=f"device {device.name}",
            key="host",
            remedy="Correct ~/.ssh/config, or its owner and permissions",
        )
    options: dict[str, str] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        options.setdefault(key, value)
    host, port = options.get("hostname", device.host), int(options.get("port", 22))
    alias = options.get("hostkeyalias", "none")
    # ssh prints paths without quotes; the project's are known.
    project = ssh.project_known_hosts() if device.known_hosts is None else []
    users = options.get("userknownhostsfile", "").removeprefix(" ".join(project))
    files = [*project, *f"{users} {options.get('globalknownhostsfile', '')}".split()]
    return SshRoute(
        host,
        port,
        options.get("user", ""),
        options.get("proxycommand", "none") == options.get("proxyjump", "none") == "none",
        (host.lower() if port == 22 else f"[{host.lower()}]:{port}") if alias == "none" else alias.lower(),
        tuple(file for file in files if file != "none"),
    )


def shown_keys(device: Device) -> list[HostKey]:
    """The host key that a board shows now (one: of the type that ssh prefers).

    Raises:
        HakdError: no answer, or a jump host on the way that refuses the connection.
    """
    assert device.host is not None
    with tempfile.TemporaryDirectory(prefix="hakd-pin-") as folder:
        file = Path(folder, "known_hosts")
        options = (f"UserKnownHostsFile={ssh.quoted(str(file))}", *_FETCHING)
        done = _run([*ssh.flags(device, options), "-N", "--", device.host], FETCH_S)
        lines = file.read_text().splitlines() if file.is_file() else []
    keys = [key for key in map(parse, lines) if key is not None]
    if keys:
        return keys
    explained = ssh.explain(device, done.returncode, done.stderr, False)
    if explained is not None:
        raise explained
    raise HakdError(
        f"the device shows no host key ({_last(done.stderr)})",
        where=f"device {device.name}",
        key="host",
        remedy="Check that sshd runs on the device, and on which port",
    )


def known_keys(route: SshRoute) -> list[tuple[str, HostKey]]:
    """Every key known for a device, with the file it is known in; marked lines (authorities, revoked keys) too."""
    return [(file, key) for file in route.files for key in keys_in(file, route.name)]


def holder(shown: Collection[HostKey], known: Collection[tuple[str, HostKey]]) -> str | None:
    """The first file that has one of the shown keys, unmarked."""
    places = (file for file, one in known if not one.marker and any(key.same_key(one) for key in shown))
    return next(places, None)


def others(shown: Collection[HostKey], known: Collection[tuple[str, HostKey]]) -> list[tuple[str, HostKey]]:
    """Known keys of a type that is shown; where none of them is shown, ssh calls the key changed."""
    kinds = {key.kind for key in shown}
    return [(file, one) for file, one in known if not one.marker and one.kind in kinds]


def _run(argv: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program of the ssh client without a terminal; a timeout ends it and keeps its stderr so far."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr or ""
        return subprocess.CompletedProcess(argv, 255, "", said or f"no answer within {timeout_s:g} s")
    except OSError as error:
        remedy = "Install the ssh client on this machine (on Debian: openssh-client)"
        raise HakdError(
            f"cannot start {argv[0]} ({error.strerror})", key="transport", remedy=remedy
        ) from None


def _last(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return printable(lines[-1], 300) if lines else "no reason given"
