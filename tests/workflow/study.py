"""Runs the real workflow in a folder of its own and tells which jobs it ran."""

import json
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.workflow.plugins.snakemake_logger_plugin_jobs import MARK

ROOT = Path(__file__).resolve().parents[2]
_PATHS = [str(Path(__file__).parent / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(_PATHS)}  # where Snakemake finds `--logger jobs`


class Study:
    """The smallest study, in `directory`, with the configuration of `config/smoke.yaml` changed at will."""

    def __init__(self, directory: Path, cores: int = 2) -> None:
        self.directory, self.cores = directory, cores
        self.config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
        self.output = ""  # of the last `run`
        self.environment = ENVIRONMENT
        self._looked: dict[str, subprocess.CompletedProcess[str]] = {}

    def command(self, *arguments: str, config: dict | None = None) -> list[str]:
        """The command line, its configuration written."""
        text = yaml.safe_dump(config or self.config, sort_keys=False)
        path = self.directory / f"config-{zlib.crc32(text.encode()):08x}.yaml"
        path.write_text(text)
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
        command += ["--logger", "jobs"]
        return [
            *command,
            "--cores",
            str(self.cores),
            "--directory",
            str(self.directory),
            "--configfile",
            str(path),
        ]

    def snakemake(self, *arguments: str, config: dict | None = None) -> subprocess.CompletedProcess[str]:
        """Run snakemake on the study; stdout and stderr together."""
        command = self.command(*arguments, config=config)
        if " ".join(command) in self._looked:
            return self._looked[" ".join(command)]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def look_ahead(self, configs: Iterable[dict]) -> None:
        """Dry runs of these configurations side by side, kept for later: the study must not change any more.

        Each takes seconds on one core, most of them for imports.
        """
        configs = list(configs)
        commands = [" ".join(self.command("-n", config=config)) for config in configs]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(lambda config: self.snakemake("-n", config=config), configs)
            self._looked |= dict(zip(commands, list(done), strict=True))

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start it in a process group of its own, to be interrupted."""
        return subprocess.Popen(
            self.command(*arguments), cwd=ROOT, env=self.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *arguments: str, config: dict | None = None) -> Counter:
        """Run it to the end; returns how many jobs of each rule were executed."""
        done = self.snakemake(*arguments, config=config)
        assert done.returncode == 0, done.stdout[-6000:]
        self.output = done.stdout
        return executed(done.stdout)

    def planned(self, *arguments: str, config: dict | None = None) -> Counter:
        """Jobs of a dry run, by rule."""
        done = self.snakemake("-n", *arguments, config=config)
        assert done.returncode == 0, done.stdout[-6000:]
        return Counter(
            {rule: n for rule, n in job_stats(done.stdout).items() if rule not in ("all", "total")}
        )

    def plan(self, *arguments: str, config: dict | None = None) -> list["Job"]:
        """The jobs of a dry run with their wildcards."""
        done = self.snakemake("-n", *arguments, config=config)
        assert done.returncode == 0, done.stdout[-6000:]
        return [job for job in jobs(done.stdout) if job.rule != "all"]


@dataclass
class Job:
    """A job as a run's output tells it: `end` and `failed` once it has ended (times in seconds since the epoch)."""

    rule: str
    wildcards: dict[str, str]
    resources: dict[str, str]
    inputs: list[str] = field(default_factory=list)  # of a dry run
    start: float | None = None
    end: float | None = None
    failed: bool = False


def jobs(output: str) -> list[Job]:
    """All jobs that were announced, in order. Of one announced twice (before a checkpoint) the last counts.

    Other jobs write to the same stream, whatever they like at any moment: a line counts wherever it begins.
    """
    found: dict[str, Job] = {}
    for line in re.findall(rf"{MARK}(\{{.*\}})$", output, re.MULTILINE):
        about = json.loads(line)
        if "rule" in about:
            job = Job(
                about["rule"], about["wildcards"], about["resources"], about.get("inputs", []), about["at"]
            )
            found[about["job"]] = job
        elif about["job"] in found:
            found[about["job"]].end, found[about["job"]].failed = about["at"], not about["end"]
    return list(found.values())


def executed(output: str) -> Counter:
    """Finished jobs by rule."""
    done = [job for job in jobs(output) if job.end is not None and not job.failed]
    return Counter(job.rule for job in done if job.rule != "all")


def job_stats(output: str) -> dict[str, int]:
    """The table that a dry run prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
