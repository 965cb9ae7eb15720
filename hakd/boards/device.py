"""A device: where an engine runs and how it is set. Every field is checked before it can reach a command line."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hakd.boards.cost_model import cost_model_from
from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean

TRANSPORTS = ("local", "ssh", "virtual")
ENGINES: tuple[str, ...] = ("onnxruntime", "onnxruntime-cuda", "litert", "ncnn", "openvino")
ENGINES += ("im2col", "csr", "bitmap", "opencl", "opencl-gemm")
SPARSE_ENGINES = ("csr", "bitmap")  # whose time depends on which weights are zero
# What a board needs for an engine, where that is not a package of the engine's name.
NEEDS = dict.fromkeys(("im2col", "csr", "bitmap"), "a C compiler (on Debian: gcc and libc6-dev)")
NEEDS |= {"onnxruntime-cuda": "onnxruntime-gpu instead of onnxruntime, CUDA and cuDNN,"}
NEEDS |= {"opencl": "pyopencl and an OpenCL driver", "opencl-gemm": "pyopencl, an OpenCL driver and CLBlast"}
FLOAT32, INT8 = "float32", "int8"
PRECISIONS = (FLOAT32, INT8)
INT8_ENGINES = ("onnxruntime", "litert")
SSH_KEYS = ("host", "user", "port", "identity_file", "known_hosts", "jump")
VIRTUAL_KEYS = ("cost_model", "table")
# How the board is reached, and how long to wait for it: a change of these changes no measurement.
REACH_KEYS = (
    "user",
    "port",
    "identity_file",
    "known_hosts",
    "jump",
    "lock_path",
    "lock_wait_s",
    "reconnects",
)
# Keys of a device's entry in the configuration that say how it is measured; the study's, not the board layer's.
MEASURING_KEYS = ("processes", "rounds", "burst_ms", "benchmark_processes", "min_step", "energy")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")  # an interface of this machine, or its number
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,254}")
_PATH = re.compile(r"/[A-Za-z0-9._/-]{1,1023}")
_CLIENT_PATH = re.compile(r"(~/)?[A-Za-z0-9._/][A-Za-z0-9._/-]{0,1023}")
_PATH_WORDS = "an absolute path of letters, digits, `.`, `_`, `-`"
_CLIENT_PATH_WORDS = (
    "a path of letters, digits, `.`, `_`, `-`, from `/`, from `~/` or from the working directory"
)
_HOST_WORDS = (
    "a host name, an alias of your ssh configuration or an IP address (`fe80::1%eth0`: with its interface)"
)
_USER_WORDS = (
    "letters, digits, `.`, `_`, `-`, `+`, at most 255, a letter, digit or `_` first;"
    " for any other give an alias of your ssh configuration as `host`"
)


@dataclass(frozen=True)
class Jump:
    """A host on the way to a board: `[user@]host[:port]`, an IPv6 address in brackets."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Device:
    """A board, or this machine.

    Args:
        name: also used in file names and wildcards.
        transport: how it is reached; `local` is a subprocess on this machine, `ssh` goes through the system's ssh,
            `virtual` is not a board: its times are computed.
        host: name, alias of the user's ssh configuration or address of the board (ssh only, as the next five).
        user: to log in as; None: as ssh would.
        port: of its sshd; None: as ssh would.
        identity_file: private key on this machine; None: as ssh would.
        known_hosts: file of host keys on this machine, the only one that counts; None: the user's and the project's.
        jump: host on the way, `[user@]host[:port]`.
        engine: what runs the models.
        threads: of the engine, each pinned to its own CPU.
        batch: images per inference.
        cpus: CPUs to pin the threads to, as many as threads; None: the fastest ones.
        precision: of weights and activations; `int8` for the engines that have it here (`INT8_ENGINES`).
        density: share of the weights that are not zero where shapes are timed with stand-ins (sparse engines only).
        epoch: raise it to measure everything again, e.g. after a change of cooling.
        python: absolute path of the interpreter on the device; None: the one that runs this program (local), or
            `python3` of the login's PATH (ssh).
        lock_path: file on the device whose lock gives exclusive use of it.
        lock_wait_s: how long to wait for that lock before giving up.
        reconnects: how often to try again when the link is lost during a session, before the next result; 0: never.
        cost_model: parameters of a virtual device (`hakd.boards.cost_model`).
        table: latency table (a file on this machine) that a virtual device answers from instead.

    Raises:
        HakdError: a field that does not fit its pattern or range, or contradicts the others.
    """

    name: str
    transport: str = "local"
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity_file: str | None = None
    known_hosts: str | None = None
    jump: str | None = None
    engine: str = "onnxruntime"
    threads: int = 1
    batch: int = 1
    cpus: tuple[int, ...] | None = None
    precision: str = FLOAT32
    density: float = 1.0
    epoch: int = 1
    python: str | None = None
    lock_path: str = "/tmp/hakd.lock"
    lock_wait_s: float = 3600.0
    reconnects: int = 3
    cost_model: Mapping[str, Any] | None = field(default=None, hash=False)
    table: str | None = None

    def __post_init__(self) -> None:
        self._match("name", _NAME, "letters, digits, `.`, `_`, `-`, at most 63, a letter or digit first")
        for key, known in (("transport", TRANSPORTS), ("engine", ENGINES), ("precision", PRECISIONS)):
            if getattr(self, key) not in known:
                self._refuse(key, f"Known: {', '.join(known)}")
        self._check_reach()
        for key, least, most in (
            ("threads", 1, 256),
            ("batch", 1, 4096),
            ("epoch", 1, 10**6),
            ("reconnects", 0, 100),
        ):
            value = getattr(self, key)
            if type(value) is not int or not least <= value <= most:
                self._refuse(key, f"Give a whole number from {least} to {most}")
        if self.engine == "ncnn" and self.batch != 1:
            self._refuse("batch", "ncnn has no batches: give 1")
        if self.precision == INT8:
            self._check_int8()
        self._check_density()
        self._check_cpus()
        if self.python is not None:
            self._match("python", _PATH, _PATH_WORDS)
        self._match("lock_path", _PATH, _PATH_WORDS)
        if type(self.lock_wait_s) not in (int, float) or not 0 <= self.lock_wait_s < 1e9:
            self._refuse("lock_wait_s", "Give seconds, 0 or more")
        self._check_virtual()

    def _check_int8(self) -> None:
        """Engines whose int8 models are not made here; and virtual devices, whose times are computed for float32."""
        if self.engine not in INT8_ENGINES:
            words = f"{self.engine} has no int8 here: give {FLOAT32}, or set engine to {' or '.join(INT8_ENGINES)}"
            self._refuse("precision", words)
        if self.transport == "virtual":
            self._refuse("precision", f"A virtual device computes the times of {FLOAT32}: give that")
        if self.engine == "litert" and self.batch != 1:
            self._refuse("batch", "LiteRT's int8 files take one image: give 1")

    def _check_virtual(self) -> None:
        """A virtual device has a cost model or a table; no other device has one."""
        if self.transport != "virtual":
            for key in VIRTUAL_KEYS:
                if getattr(self, key) is not None:
                    self._refuse(
                        key, f"Only for `transport: virtual`; the transport here is {self.transport}"
                    )
            return
        if self.engine != "onnxruntime":
            self._refuse("engine", "A virtual device reads ONNX models: give onnxruntime")
        if (self.cost_model is None) == (self.table is None):
            self._refuse("cost_model", "Give a virtual device either cost_model or table")
        if self.cost_model is not None:
            cost_model_from(self.cost_model, f"device {self.name}")
        else:
            self._match("table", _CLIENT_PATH, _CLIENT_PATH_WORDS)

    def _check_reach(self) -> None:
        """Check everything that becomes part of ssh's command line."""
        if self.transport != "ssh":
            for key in SSH_KEYS:
                if getattr(self, key) is not None:
                    self._refuse(key, f"Only for `transport: ssh`; the transport here is {self.transport}")
            return
        if self.host is None:
            self._refuse("host", f"Give {_HOST_WORDS}")
        if not _is_host(self.host):
            self._refuse("host", f"Use {_HOST_WORDS}")
        if self.user is not None:
            self._match("user", _USER, _USER_WORDS)
        if self.port is not None and not _is_port(self.port):
            self._refuse("port", "Give a whole number from 1 to 65535")
        for key in ("identity_file", "known_hosts"):
            if getattr(self, key) is not None:
                self._match(key, _CLIENT_PATH, _CLIENT_PATH_WORDS)
        if self.jump is not None and parse_jump(self.jump) is None:
            self._refuse("jump", "Use [user@]host[:port]")

    def _check_density(self) -> None:
        if type(self.density) not in (int, float) or not 0 < self.density <= 1:
            self._refuse("density", "Give a number above 0, at most 1")
        if self.density != 1 and self.engine not in SPARSE_ENGINES:
            self._refuse("density", f"Only for the engines {' and '.join(SPARSE_ENGINES)}")

    def _check_cpus(self) -> None:
        if self.cpus is None:
            return
        if isinstance(self.cpus, list):  # as configurations have it
            object.__setattr__(self, "cpus", tuple(self.cpus))
        plain = isinstance(self.cpus, tuple) and all(type(n) is int and 0 <= n < 4096 for n in self.cpus)
        if not plain or len(set(self.cpus)) != self.threads or len(self.cpus) != self.threads:
            self._refuse("cpus", "Give a list of different CPU numbers, as many as threads")

    def _match(self, key: str, pattern: re.Pattern[str], remedy: str) -> None:
        value = getattr(self, key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self._refuse(key, f"Use {remedy}")

    def _refuse(self, key: str, remedy: str) -> None:
        name = self.name if isinstance(self.name, str) and _NAME.fullmatch(self.name) else "?"
        value = getattr(self, key)
        problem = "is missing" if value is None else f"{value!r} is not accepted"
        raise HakdError(problem, where=f"device {name}", key=key, remedy=remedy)

    def settings(self) -> dict[str, Any]:
        """What can affect a measurement: all fields except those that only say how the board is reached."""
        return {key: value for key, value in asdict(self).items() if key not in REACH_KEYS}

    @classmethod
    def from_config(cls, name: str, settings: Mapping[str, Any]) -> "Device":
        """A device from its entry in the configuration; the entry's measuring keys are ignored.

        Raises:
            HakdError: an unknown key or a value that does not fit.
        """
        settings = {key: value for key, value in settings.items() if key not in MEASURING_KEYS}
        known = [field.name for field in fields(cls) if field.name != "name"]
        for key in settings:
            if key not in known:
                remedy = did_you_mean(key, known)
                raise HakdError(f"unknown key {key!r}", where="devices", key=name, remedy=remedy)
        return cls(name=name, **settings)


def _is_host(text: object) -> bool:
    """A plain name or an address, a link-local one with its interface: `fe80::1%eth0`."""
    if not isinstance(text, str):
        return False
    if _HOST.fullmatch(text):
        return True
    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        return False
    try:
        ipaddress.IPv6Address(address)  # the others look like names
    except ValueError:
        return False
    return address.isascii()


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535


def parse_jump(text: object) -> Jump | None:
    """The parts of `[user@]host[:port]`; None for another text."""
    if not isinstance(text, str):
        return None
    match = re.fullmatch(r"(?:([^@]*)@)?(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?", text, re.ASCII)
    if match is None:
        return None
    user, host = match[1], match[2] if match[2] is not None else match[3]
    port = int(match[4]) if match[4] else None
    if not _is_host(host) or (user is not None and not _USER.fullmatch(user)):
        return None
    if port is not None and not _is_port(port):
        return None
    return Jump(host, user, port)
