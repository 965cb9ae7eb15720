"""A real Slurm on this machine with a folder of its own: munged, slurmctld and slurmd, started and ended by a test."""

import contextlib
import os
import re
import secrets
import socket
import subprocess
from pathlib import Path

import psutil

from tests.boards.rigs.needs import PLACES, Unavailable, program, wait_until
from tests.boards.rigs.processes import marked
from tests.workflow.study import ENVIRONMENT, ROOT

PLUGIN = ROOT / ".venv" / "slurm"  # made by `make slurm`
MARK = "HAKD_TEST_SLURM"  # on the daemons and on all that they start
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
SETTINGS = {
    "SlurmUser": "root",
    "SlurmdUser": "root",
    "AuthType": "auth/munge",
    "ProctrackType": "proctrack/pgid",
    "TaskPlugin": "task/none",
    "JobAcctGatherType": "jobacct_gather/none",
    "AccountingStorageType": "accounting_storage/none",
    "MpiDefault": "none",
    "ReturnToService": "2",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core_Memory",
    "SlurmdParameters": "config_overrides",  # the node is what is written here, whatever the machine has
    "SchedulerParameters": "sched_interval=1,bf_interval=1,batch_sched_delay=0",
    "MinJobAge": "3600",  # without accounting, `squeue` has to remember
    "KillWait": "10",
}


def plugin_environment() -> dict[str, str]:
    """The environment of a Snakemake that knows Slurm.

    Raises:
        Unavailable: the plugin is not there.
    """
    if not PLUGIN.is_dir():
        raise Unavailable("no Snakemake plugin for Slurm (make slurm)")
    return ENVIRONMENT | {"PYTHONPATH": f"{PLUGIN}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}


class Slurm:
    """A cluster of one node; a context manager.

    Args:
        folder: for its files; short, since a socket lies in it.
        cpus: of the node, whatever this machine has.
        memory_mb: of the node.

    Attributes:
        environment: of what uses the cluster.

    Raises:
        Unavailable: this machine has no Slurm, or this user may not start one.
    """

    def __init__(self, folder: Path, cpus: int = 2, memory_mb: int = 20000) -> None:
        self.folder, self.name = folder, secrets.token_hex(8)
        self._daemons: list[subprocess.Popen] = []
        if os.getuid():
            raise Unavailable("only root can start a Slurm")
        self.environment = plugin_environment() | {
            MARK: self.name,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{PLACES}",
        }
        programs = {name: program(name) for name in PROGRAMS}
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir(parents=True)
        settings = {**SETTINGS, **self._own(cpus, memory_mb)}
        configuration = folder / "slurm.conf"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        # Within a job the plugin hides SLURM_CONF from srun: on a cluster the file lies where srun looks first.
        wrapper = folder / "bin" / "srun"
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {programs["srun"]} "$@"\n')
        wrapper.chmod(0o755)

    def _own(self, cpus: int, memory_mb: int) -> dict[str, object]:
        """Settings of this cluster alone."""
        host, folder = socket.gethostname().partition(".")[0], self.folder
        return {
            "ClusterName": "test",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": _free_port(),
            "SlurmdPort": _free_port(),
            "AuthInfo": f"socket={folder / 'munge.socket'}",
            "StateSaveLocation": folder / "state",
            "SlurmdSpoolDir": folder / "spool",
            "SlurmctldPidFile": folder / "slurmctld.pid",
            "SlurmdPidFile": folder / "slurmd.pid",
            "NodeName": f"{host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb}",
            "PartitionName": f"main Nodes={host} Default=YES DefMemPerCPU=500",
        }

    def ask(self, *command: str) -> str:
        """Output of a command of Slurm; empty where it fails."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """All jobs so far, as `scontrol` describes them, in order."""
        blocks = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [
            dict(re.findall(r"(\w[\w/]*)=(\S*)", block)) for block in blocks if block.startswith("JobId=")
        ]

    def __enter__(self) -> "Slurm":
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        munged = ["--foreground", "--force", f"--key-file={key}", f"--socket={self.folder / 'munge.socket'}"]
        munged += [f"--{name}-file={self.folder / 'munge'}.{name}" for name in ("pid", "log", "seed")]
        try:
            self._start("munged", *munged)
            wait_until((self.folder / "munge.socket").exists, "munged listens")
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            wait_until(
                lambda: self.ask("sinfo", "-h", "-o", "%T") == "idle",
                "an idle node",
                timeout_s=60,
                step_s=0.2,
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, name: str, *arguments: str) -> None:
        """Start a daemon, which dies with this process."""
        argv = [program("setpriv"), "--pdeathsig", "KILL", program(name), *arguments]
        with open(self.folder / f"{name}.log", "wb") as log:
            daemon = subprocess.Popen(
                argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._daemons.append(daemon)

    def __exit__(self, *about: object) -> None:
        """End the jobs and the daemons."""
        self.ask("scancel", "--user=root")
        for process in marked(self.name, MARK):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for daemon in self._daemons:
            daemon.wait()
        wait_until(lambda: not marked(self.name, MARK), "nothing of the cluster runs")


def _free_port() -> int:
    """A port of the loopback address on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
