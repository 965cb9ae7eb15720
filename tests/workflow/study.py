"""Runs the real workflow in a folder of its own and tells which jobs it ran."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Study:
    """The smallest study, in `directory`, with the configuration of `config/smoke.yaml` changed at will."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())

    def command(self, *arguments: str, config: dict | None = None) -> list[str]:
        """The command line, its configuration written."""
        path = self.directory / "config.yaml"
        path.write_text(yaml.safe_dump(config or self.config))
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
        return [*command, "--cores", "2", "--directory", str(self.directory), "--configfile", str(path)]

    def snakemake(self, *arguments: str, config: dict | None = None) -> subprocess.CompletedProcess[str]:
        """Run snakemake on the study; stdout and stderr together."""
        command = self.command(*arguments, config=config)
        return subprocess.run(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
        )

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
        return executed(done.stdout)

    def planned(self, *arguments: str, config: dict | None = None) -> Counter:
        """Jobs of a dry run, by rule."""
        done = self.snakemake("-n", *arguments, config=config)
        assert done.returncode == 0, done.stdout[-6000:]
        return Counter(
            {rule: n for rule, n in job_stats(done.stdout).items() if rule not in ("all", "total")}
        )


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
