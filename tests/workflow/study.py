"""Runs the real workflow in a folder of its own and tells which jobs it ran."""

import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Study:
    """The smallest study, in `directory`, with the configuration of `config/smoke.yaml` changed at will."""

    def __init__(self, directory: Path, cores: int = 2) -> None:
        self.directory, self.cores = directory, cores
        self.config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
        self.output = ""  # of the last `run`
        self._looked: dict[str, subprocess.CompletedProcess[str]] = {}

    def command(self, *arguments: str, config: dict | None = None) -> list[str]:
        """The command line, its configuration written."""
        text = yaml.safe_dump(config or self.config, sort_keys=False)
        path = self.directory / f"config-{zlib.crc32(text.encode()):08x}.yaml"
        path.write_text(text)
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
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
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
        )

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
            self.command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
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
    """A job as a run's output tells it: `end` and `failed` once it has ended (times to the second)."""

    rule: str
    wildcards: dict[str, str]
    resources: dict[str, str]
    start: float | None = None
    end: float | None = None
    failed: bool = False


def jobs(output: str) -> list[Job]:
    """All jobs that were announced, in order. Of one announced twice (before a checkpoint) the last counts.

    Jobs write to the same stream: when one leaves a line unfinished, the first line of the next message, which is its
    time stamp, goes on in it. So a stamp counts wherever it ends a line, everything else at the start of one only.
    """
    found: dict[str, Job] = {}
    at = None
    stamps = r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]$"
    heads = r"(?:local)?(?:rule|checkpoint) \w+:|Finished jobid: |Error in rule \w+:"
    for block in re.split(rf"(?m)(?={stamps})|^(?={heads})", output):
        stamp = re.match(rf"(?m){stamps}", block)
        named = re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block)
        number = re.search(r"^    jobid: (\d+)$", block, re.MULTILINE)
        ended = re.match(r"Finished jobid: (\d+) ", block)
        if stamp:
            at = datetime.strptime(stamp[0], "[%a %b %d %H:%M:%S %Y]").timestamp()
        elif named and number:
            found[number[1]] = Job(named[1], _pairs(block, "wildcards"), _pairs(block, "resources"), at)
        elif ended and ended[1] in found:
            found[ended[1]].end = at
        elif block.startswith("Error in rule") and number and number[1] in found:
            found[number[1]].end, found[number[1]].failed = at, True
    return list(found.values())


def _pairs(block: str, key: str) -> dict[str, str]:
    """What a line `key: a=1, b=2` says."""
    line = re.search(rf"^    {key}: (.+)$", block, re.MULTILINE)
    return dict(re.findall(r"([\w.-]+)=([^,\n]+)", line[1])) if line else {}


def executed(output: str) -> Counter:
    """Finished jobs by rule."""
    return Counter(
        rule
        for rule in re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", output, re.MULTILINE)
        if rule != "all"
    )


def job_stats(output: str) -> dict[str, int]:
    """The table that a dry run prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
