"""Images of ARM boards: a Debian of another architecture with Python, numpy and an engine, run by qemu-user.

User-land is as real as on a board: ARM packages from the mirror and keys that this machine's apt knows, wheels that
pip chooses for that machine. The kernel is this machine's and timings mean nothing. binfmt_misc is mounted in a user
namespace of the board's own, so this machine learns nothing about ARM programs, and no root is needed.

What takes long is made once: `image` keeps it below `.cache`, named by everything that goes into it.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.boards.rigs.needs import Unavailable, program

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "hakd-boards"
RECIPE = 3  # raise it when images are made in another way
GLIBC = {"bullseye": 31, "bookworm": 36, "trixie": 41, "forky": 42}  # 2.x of Debian 11 to 14
PACKAGES = ("base-files", "bash", "coreutils", "dash", "libgomp1", "libstdc++6", "openssh-server", "python3")
VENV = "opt/board"  # as `python3 -m venv /opt/board` leaves it
USER, NUMBER = "pi", 1000
_STANDARD = ("base64", "json", "mmap", "random", "resource", "shutil", "subprocess", "threading", "traceback")
_ELF = r"\x7fELF{bits}\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00{machine}\x00"
_ELF_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


@dataclass(frozen=True)
class Kind:
    """A machine: its names at Debian, the kernel and qemu, two bytes of its ELF header, what /proc/cpuinfo says."""

    debian: str
    machine: str
    emulator: str
    cpu: str
    bits: str
    elf: str
    processor: str
    model: str


# As the kernels of these boards say it, down to the spelling.
PI4 = Kind(
    "arm64",
    "aarch64",
    "qemu-aarch64-static",
    "cortex-a72",
    r"\x02",
    r"\xb7",
    "BogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n",
    "Revision\t: c03114\nSerial\t\t: 10000000abcdef01\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
)
PI2 = Kind(
    "armhf",
    "armv7l",
    "qemu-arm-static",
    "cortex-a7",
    r"\x01",
    r"\x28",
    "model name\t: ARMv7 Processor rev 5 (v7l)\nBogoMIPS\t: 38.40\n"
    "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm\n"
    "CPU implementer\t: 0x41\nCPU architecture: 7\nCPU variant\t: 0x0\nCPU part\t: 0xc07\nCPU revision\t: 5\n",
    "Hardware\t: BCM2835\nRevision\t: a01041\nSerial\t\t: 00000000abcdef02\n"
    "Model\t\t: Raspberry Pi 2 Model B Rev 1.1\n",
)


# --- the image: what is the same for every board of its kind


@dataclass(frozen=True)
class Recipe:
    """What an image is made from.

    Args:
        kind: of machine.
        suite: of Debian.
        wheels: what pip installs into the environment at /opt/board.
        packages: of Debian, beside those that every board has.
        dependencies: whether pip installs what the wheels depend on.
        imports: modules that have to load, and whose byte code is kept.
        door: image whose sshd takes the log-ins. OpenSSH 10 insists on a seccomp filter, which qemu-user does not have.
    """

    kind: Kind
    suite: str
    wheels: tuple[str, ...]
    packages: tuple[str, ...] = ()
    dependencies: bool = True
    imports: tuple[str, ...] = ()
    door: "Recipe | None" = None

    def folder(self) -> Path:
        content = json.dumps([RECIPE, os.cpu_count(), asdict(self)], sort_keys=True)
        key = hashlib.sha256(content.encode()).hexdigest()[:12]
        return CACHE / f"{self.suite}-{self.kind.debian}-{key}"


def image(recipe: Recipe) -> Path:
    """The root file system of a recipe, made when it is not there yet.

    Raises:
        Unavailable: a program, the mirror or the package registry is missing.
    """
    found = recipe.folder()
    if found.exists():
        return found
    for name in ("mmdebstrap", "unshare", recipe.kind.emulator):
        program(name)
    CACHE.mkdir(parents=True, exist_ok=True)
    root = CACHE / f".making-{secrets.token_hex(4)}"
    try:
        _debian(recipe, root)
        _furnish(recipe, root)
        _install(recipe, root)
        _try_out(recipe, root)
        with contextlib.suppress(OSError):  # somebody else was faster
            root.rename(found)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return found


def _run(argv: Sequence[str], what: str, **options: Any) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, **options)
    except subprocess.TimeoutExpired as late:
        raise Unavailable(f"{what}: nothing after {late.timeout:g} s") from None
    if done.returncode:
        raise Unavailable(f"{what}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def _mirror() -> str:
    """Where this machine's apt takes Debian itself from."""
    program("apt-get")
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    wanted = [
        "apt-get",
        "indextargets",
        "--format",
        "$(RELEASE) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]
    for line in _run(wanted, "apt knows no sources").splitlines():
        suite, component, place = line.split()
        if release and (suite, component) == (release[1], "main"):
            return place
    raise Unavailable("apt on this machine has no Debian mirror")


def _debian(recipe: Recipe, root: Path) -> None:
    """Unpack the packages; nothing of them runs, so no package is configured."""
    # How to reach the mirror is in apt's configuration: a proxy, or that a mirror is as of some day in the past.
    dump = _run(["apt-config", "dump", "Acquire"], "apt's configuration cannot be read")
    kept = re.findall(r"^Acquire::(?:Check|http|https|Retries|ForceIPv)\S* .*$", dump, re.MULTILINE)
    options = [f"--aptopt={line}" for line in ['Acquire::Retries "3";', *kept]]
    merged = [] if recipe.suite == "bullseye" else ["usr-is-merged"]  # instead of usrmerge and its Perl
    options.append("--include=" + ",".join([*PACKAGES, *merged, *recipe.packages]))
    # Nothing runs, so nothing needs a root to change into: this mode works for every user.
    argv = [program("mmdebstrap"), "--quiet", "--mode=chrootless", "--variant=extract", *options]
    argv.append(f"--arch={recipe.kind.debian}")
    source = f"deb {_mirror()} {recipe.suite} main"
    _run([*argv, recipe.suite, str(root), source], f"no Debian {recipe.suite} for {recipe.kind.debian}")
    for name in ("doc", "info", "locale", "man"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)


def _furnish(recipe: Recipe, root: Path) -> None:
    """What the packages would have set up, and what this kind of board shows of itself."""

    def write(path: str, text: str) -> Path:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        return root / path

    for name in ("dev", "home", "mnt", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)
    shell = "/usr/sbin/nologin"
    write(
        "etc/passwd",
        f"root:x:0:0::/root:/bin/bash\nsshd:x:100:65534::/run/sshd:{shell}\nnobody:x:65534:65534::/:{shell}\n"
        f"{USER}:x:{NUMBER}:{NUMBER}::/home:/bin/bash\n",
    )
    write("etc/group", f"root:x:0:\nnogroup:x:65534:\n{USER}:x:{NUMBER}:\n")
    write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    cpus = os.cpu_count() or 1
    processors = [f"processor\t: {n}\n{recipe.kind.processor}\n" for n in range(cpus)]
    write("etc/board/cpuinfo", "".join(processors) + recipe.kind.model)
    for name in ("possible", "present", "online"):
        write(f"sys/devices/system/cpu/{name}", f"0-{cpus - 1}\n")
    for cpu in range(cpus):
        for name, value in (("scaling_governor", "ondemand"), ("scaling_cur_freq", 1500000)):
            write(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}", f"{value}\n")
    write("sys/class/thermal/thermal_zone0/temp", "48312\n")
    # The firmware's own program needs the firmware; this is what it says after a hot day on a weak supply.
    write("usr/bin/vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50000\n').chmod(0o755)
    for folder in root.glob("usr/lib/*/blas"), root.glob("usr/lib/*/lapack"):
        for path in folder:  # Debian's numpy finds them by alternatives, which nobody has set
            name = f"lib{path.name}.so.3"
            (path.parent / name).symlink_to(f"{path.name}/{name}")


def python_of(root: Path) -> str:
    """Name of the interpreter, as python3.11."""
    return (root / "usr/bin/python3").readlink().name


def _install(recipe: Recipe, root: Path) -> None:
    """An environment as `python3 -m venv` makes it, with wheels that this machine could install by itself."""
    python, venv = python_of(root), root / VENV
    site = venv / "lib" / python / "site-packages"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    site.mkdir(parents=True)
    if not recipe.wheels:
        return
    machine = recipe.kind.machine
    levels = [f"manylinux_2_{minor}" for minor in range(GLIBC[recipe.suite], 16, -1)]
    tags = [
        word for level in [*levels, "manylinux2014", "linux"] for word in ("--platform", f"{level}_{machine}")
    ]
    about = ["--python-version", python.removeprefix("python"), "--implementation", "cp", *tags]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--root-user-action=ignore", "--only-binary=:all:", "--target", str(site), *about]
    pip += [] if recipe.dependencies else ["--no-deps"]
    _run([*pip, *recipe.wheels], f"pip finds no {', '.join(recipe.wheels)} for {machine} and {python}")


def _try_out(recipe: Recipe, root: Path) -> None:
    """Load what a worker loads, which also leaves the byte code of it: compiling takes long under emulation."""
    code = f"import {','.join([*_STANDARD, *recipe.imports])}"
    command = [f"/{VENV}/bin/python", "-c", code]
    script = f"{prepare(recipe.kind, root, 'builder')}\nexec {enter(root)} {' '.join(map(quoted, command))}"
    argv = [program("unshare"), *NAMESPACES, program("bash"), "-c", f"set -e\n{script}"]
    _run(
        argv,
        "the image does not run",
        env={**os.environ, "QEMU_CPU": recipe.kind.cpu, "ORT_DISABLE_TELEMETRY": "1"},
    )


# --- namespaces

NAMESPACES = (
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def quoted(word: object) -> str:
    return "'" + str(word).replace("'", "'\\''") + "'"


def prepare(kind: Kind, root: Path, name: str) -> str:
    """Shell commands that make a namespace of mounts the board's: how to run its programs, its CPU, its host name."""
    form = _ELF.format(bits=kind.bits, machine=kind.elf)
    rule = f":hakd:M::{form}:{_ELF_MASK}:{program(kind.emulator)}:FP"
    inside = quoted(root)
    return "\n".join(
        [
            f"hostname {name}",
            f"mount --bind {inside} {inside}",
            "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc",
            f"printf %s {quoted(rule)} >/proc/sys/fs/binfmt_misc/register",
            f"mount --bind {inside}/etc/board/cpuinfo /proc/cpuinfo",
            f"mount --rbind /proc {inside}/proc",
            f"mount --rbind /dev {inside}/dev",
        ]
    )


def enter(root: Path) -> str:
    """Words before a command that is to run on the board, as its ordinary user: sshd then needs no other."""
    users = f"--user --map-user={NUMBER} --map-group={NUMBER} --keep-caps"
    return f"{program('unshare')} {users} {program('chroot')} {quoted(root)}"
