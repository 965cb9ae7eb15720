"""Runs the real workflow in a folder of its own and tells which jobs it ran."""

import json
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hakd.records.files import write_bytes
from tests.workflow.plugins.snakemake_logger_plugin_jobs import MARK

ROOT = Path(__file__).resolve().parents[2]
_PATHS = [str(Path(__file__).parent / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(_PATHS)}  # where Snakemake finds `--logger jobs`


class Study:
    """The smallest study, in `directory`, with the configuration of `config/smoke.yaml` changed at will."""

    def __init__(self, directory: Path, cores: int = 2) -> None:
        self.directory, self.cores = directory, cores
        self.checkout = ROOT  # of the program
        self.config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
        self.output = ""  # of the last `run`
        self.environment = ENVIRONMENT

    def command(self, *arguments: str, config: dict | None = None) -> list[str]:
        """The command line, its configuration written."""
        text = yaml.safe_dump(config or self.config, sort_keys=False)
        path = self.directory / f"config-{zlib.crc32(text.encode()):08x}.yaml"
        write_bytes(path, text.encode())  # others may read the same one
        command = [
            sys.executable,
            "-m",
            "snakemake",
            *arguments,
            "--snakefile",
            str(self.checkout / "Snakefile"),
        ]
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
        return subprocess.run(
            self.command(*arguments, config=config), cwd=self.checkout, env=self.environment, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start it in a process group of its own, to be interrupted."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.checkout, env=self.environment, start_new_session=True,
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
        return planned_jobs(done.stdout)

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
    threads: int = 1  # likewise
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
            said = about["rule"], about["wildcards"], about["resources"]
            of_plan = about.get("inputs", []), about.get("threads", 1)
            found[about["job"]] = Job(*said, *of_plan, about["at"])
        elif about["job"] in found:
            found[about["job"]].end, found[about["job"]].failed = about["at"], not about["end"]
    return list(found.values())


def executed(output: str) -> Counter:
    """Finished jobs by rule."""
    done = [job for job in jobs(output) if job.end is not None and not job.failed]
    return Counter(job.rule for job in done if job.rule != "all")


def planned_jobs(output: str) -> Counter:
    """Jobs of a dry run by rule; none only where it says so."""
    found = job_stats(output)
    assert found or "Nothing to be done" in output, output[-6000:]
    return Counter({rule: n for rule, n in found.items() if rule not in ("all", "total")})


def job_stats(output: str) -> dict[str, int]:
    """The table that a dry run prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
