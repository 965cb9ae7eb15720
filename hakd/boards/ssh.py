"""The transport `ssh`: the system's own ssh, so that the user's configuration, agent and hardware keys work.

Only the interpreter's path varies in the remote command, and every word on the command line comes from here or was
checked by `Device`: nothing can be injected. Host keys are always checked; no option turns that off.
"""

import contextlib
import re
import shlex
import subprocess
from pathlib import Path

from hakd.boards import agent
from hakd.boards.device import Device, Jump, parse_jump
from hakd.boards.lost import LinkLost
from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.records.text import printable

PROJECT_KNOWN_HOSTS = (
    "config/known_hosts"  # of the working directory, where it is written, and of the checkout
)
# First on the command line: the first value of an option wins, over the user's configuration too.
OPTIONS = (
    "BatchMode=yes",
    "LogLevel=INFO",  # `explain` needs ssh's words, whatever the user's configuration keeps quiet
    "StrictHostKeyChecking=yes",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "UpdateHostKeys=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=5",
    "ServerAliveInterval=2",
    "ServerAliveCountMax=3",
)
CWD = None  # relative paths of keys and known hosts start from the working directory
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"


def flags(device: Device, changes: tuple[str, ...] = ()) -> list[str]:
    """ssh and its options for a device, without the host; `changes` are options that come before all others."""
    assert device.host is not None
    jump = parse_jump(device.jump) if device.jump else None
    found = _common(device, device.host, changes)
    if jump is not None:
        # Not -J: its inner ssh would take none of these options, and check host keys by the user's configuration.
        before = [*_common(device, jump.host, ()), *_login(jump.user, jump.port)]
        inner = [*map(_literal, before), "-W", "[%h]:%p", "--", _literal(jump.host)]
        found += ["-o", f"ProxyCommand={shlex.join(inner)}"]
    if device.identity_file is not None:
        # Not for the jump host, which may need one of ssh's default keys.
        found += ["-o", "IdentitiesOnly=yes"]
    return found + _login(device.user, device.port)


def _literal(word: str) -> str:
    """A word in which ssh expands nothing: the `%` of a path or of an address with its interface."""
    return word.replace("%", "%%")


def quoted(path: str) -> str:
    """A path as a value of ssh's options."""
    text = _literal(path)
    if re.fullmatch(r"[\w./~%+-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def project_known_hosts() -> list[str]:
    """The project's existing files of host keys: of the working directory, then of the checkout.

    A study may run in another folder (`snakemake --directory`): keys pinned in the checkout count there too.
    """
    here, checkout = Path(PROJECT_KNOWN_HOSTS), CHECKOUT / PROJECT_KNOWN_HOSTS
    if here.exists() and checkout.exists() and here.samefile(checkout):
        return [str(here)]
    return [str(path) for path in (here, checkout) if path.exists()]


def _users_known_hosts(host: str) -> str:
    """The files that the user's own configuration names for a host, which count besides the project's."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["ssh", "-G", "--", host],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        for line in done.stdout.splitlines():
            if line.startswith("userknownhostsfile "):
                return line.partition(" ")[2]
    return _USER_KNOWN_HOSTS


def _common(device: Device, host: str, changes: tuple[str, ...]) -> list[str]:
    words = ["ssh", "-T", "-a", "-x"]
    for option in (*changes, *OPTIONS):
        words += ["-o", option]
    if device.known_hosts is not None:
        words += ["-o", f"UserKnownHostsFile={device.known_hosts}", "-o", "GlobalKnownHostsFile=none"]
    elif project := project_known_hosts():
        files = " ".join(map(quoted, project))
        words += ["-o", f"UserKnownHostsFile={files} {_users_known_hosts(host)}"]
    if device.identity_file is not None:
        words += ["-i", device.identity_file]
    return words


def _login(user: str | None, port: int | None) -> list[str]:
    words = [] if user is None else ["-l", user]
    return words + ([] if port is None else ["-p", str(port)])


def remote_command(device: Device) -> str:
    """What the board's login shell runs: it becomes the interpreter, which reads the agent from its stdin."""
    return f"exec {device.python or 'python3'} -u -c '{agent.BOOT}'"


def command(device: Device) -> list[str]:
    """Command line whose standard streams are those of the agent on the board.

    Raises:
        HakdError: the identity file does not exist.
    """
    if device.identity_file is not None and not Path(device.identity_file).expanduser().is_file():
        raise HakdError(
            f"no such file: {device.identity_file}",
            where=f"device {device.name}",
            key="identity_file",
            remedy="Set identity_file to a private key on this machine, or remove it to use ssh's default keys",
        )
    assert device.host is not None
    return [*flags(device), "--", device.host, remote_command(device)]


def jump_device(device: Device) -> Device | None:
    """The jump host as a device, for pinning its key; None where there is none."""
    jump: Jump | None = parse_jump(device.jump) if device.jump else None
    if jump is None:
        return None
    return Device(
        device.name,
        "ssh",
        host=jump.host,
        user=jump.user,
        port=jump.port,
        identity_file=device.identity_file,
        known_hosts=device.known_hosts,
    )


# What ssh's messages mean: (pattern, problem, key, remedy). The first match counts.
_MEANINGS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known",
        "known_hosts",
        "If the board was set up again, compare fingerprints and run `hakd pin {name} --replace`",
    ),
    (
        r"Host key verification failed|No \S+ host key is known for",
        "its host key is unknown",
        "known_hosts",
        "Compare and accept its fingerprint with `hakd pin {name}`",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE",
        "ssh ignores the private key, because others can read its file",
        "identity_file",
        "Run chmod 600 on it",
    ),
    (
        r"Too many authentication failures",
        "too many keys were tried",
        "identity_file",
        "Set `identity_file` to the right key",
    ),
    (
        r"Permission denied \(",
        "log-in refused",
        "user",
        "Check user and identity_file, put the public key on the board with ssh-copy-id (with a passphrase: ssh-add)",
    ),
    (
        r"Could not resolve hostname",
        "the host name is not known",
        "host",
        "Check the spelling, or give an address",
    ),
    (
        r"Connection timed out|No route to host|Network is unreachable|Host is down|Operation timed out",
        "no answer",
        "host",
        "Check that the board is on and in reach of this machine, then run the same command again",
    ),
    (
        r"Connection refused",
        "the connection is refused",
        "port",
        "Check that sshd runs there, at this port, then run the same command again",
    ),
    (
        r"Bad configuration option|Bad owner or permissions|bad configuration options",
        "ssh does not accept your ssh configuration",
        "host",
        "Correct ~/.ssh/config, or its owner and permissions; `ssh -G {name}` shows what ssh reads",
    ),
)
# Before the agent's first message, these mean that sshd is full (MaxStartups) or just starting: worth a retry.
_TURNED_AWAY = re.compile(
    r"kex_exchange_identification|Connection (closed|reset) by|banner exchange|Not allowed at this time"
)
# Among the meanings above: the board cannot be reached now.
_AWAY = ("the host name is not known", "no answer", "the connection is refused")
_LOST = re.compile(
    r"Timeout, server .* not responding|closed by remote host|Broken pipe|Connection reset|send disconnect"
)


def explain(device: Device, status: int, words: str, heard: bool) -> HakdError | None:
    """The error behind ssh's end by its stderr; None when that does not explain it.

    ssh's status 255 never decides: a remote `exit 255` looks the same.

    Args:
        device: the board.
        status: exit status of ssh, which is the remote command's where that ended by itself.
        words: what came on stderr, from ssh and from the board.
        heard: whether a message of the agent had come, so that the link had been up.
    """
    where = f"device {device.name}"
    if heard:
        return _lost(where, words)
    python = device.python or "python3"
    if status in (
        126,
        127,
    ):  # the remote shell's statuses for a command that it cannot run; ssh's own failures are 255
        remedy = "Install Python 3.8 or later there, or give its path in `python`"
        return HakdError(
            f"{python} does not run there ({_last(words)})", where=where, key="python", remedy=remedy
        )
    for pattern, problem, key, remedy in _MEANINGS:
        found = re.search(pattern, words)
        if found:
            said, remedy = _line(words, found.start()), remedy.format(name=device.name)
            kind = LinkLost if problem in _AWAY else HakdError
            return kind(f"{problem} ({said})", where=where, key=key, remedy=remedy)
    if re.search(r"future feature annotations is not defined|SyntaxError|no attribute 'memfd_create'", words):
        remedy = "Install Python 3.8 or later there and give its path in `python`"
        return HakdError(
            f"{python} is too old there ({_last(words)})", where=where, key="python", remedy=remedy
        )
    if turned_away(words):
        remedy = (
            "It may be starting, or have too many log-ins at a time (MaxStartups); run the same command again"
        )
        return LinkLost(
            f"sshd closed the connection ({_last(words)})", where=where, key="host", remedy=remedy
        )
    return _lost(where, words)


def _lost(where: str, words: str) -> LinkLost | None:
    """The error for a link that was up; None when the words do not say that it was lost."""
    found = _LOST.search(words)
    if found is None:
        return None
    remedy = "Check power and network of the board; run the same command again: it continues where it stopped"
    return LinkLost(
        f"the link was lost ({_line(words, found.start())})", where=where, key="host", remedy=remedy
    )


def turned_away(words: str) -> bool:
    """Whether sshd hung up before the log-in: a later try may succeed."""
    return _TURNED_AWAY.search(words) is not None


def _line(words: str, at: int) -> str:
    """The line around a position, without the frames of `@` that ssh draws."""
    start = words.rfind("\n", 0, at) + 1
    end = words.find("\n", at)
    return printable(words[start : end if end >= 0 else None].strip(" @\r"), 300)


def _last(words: str) -> str:
    lines = words.strip().splitlines()
    return printable(lines[-1].strip(), 300) if lines else "no reason given"
