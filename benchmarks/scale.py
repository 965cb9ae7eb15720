"""How large a study can be: seconds to plan it, to find that nothing is to be done, and to add one more device.

The studies have D virtual devices and N small networks of all families. Small ones are run for real. Of larger ones
each job's files are copied from the smallest real study instead of being made (`--executor recorded`, in
benchmarks/plugins): plan, scheduling and records are Snakemake's own, as are the checks of every parameter, file and
digest when nothing is to be done.

    python -m benchmarks.scale OUT [--real 1x1] [--recorded 4x2 20x5 50x10 52x12]

OUT is a folder: the same command goes on where it stopped. OUT/scale.jsonl has a line for each command; tables come at
the end. CPU seconds are user and system time of the command: other work on the machine stretches wall time much more.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "benchmarks" / "plugins"
FAMILIES: list[dict[str, Any]] = [
    {"family": "densenet", "depth": 16, "growth": 4},
    {"family": "mobilenet", "multiplier": 0.125},
    {"family": "mobilenetv2", "multiplier": 0.25},
    {"family": "resnet", "depth": 8, "multiplier": 0.25},
    {"family": "wrn", "depth": 10, "multiplier": 0.5},
    {"family": "vgg16", "multiplier": 0.125},
]
SETTINGS: dict[str, Any] = {
    "teacher": {"epochs": 1},
    "prune": {"steps": 1, "channels": 16},
    "students": {
        "epochs": 1,
        "losses": ["ce", "logits"],
        "recipes": {
            "fisher": ["tuned/ce", "distilled"],
            "hakd": ["distilled"],
            "joint": ["distilled"],
            "round16": ["distilled"],
            "uniform": ["distilled"],
        },
    },
    "choosing": {"budgets": [{"like": "fisher"}]},
}
METHODS = ["teacher", "fisher", "hakd", "joint", "round16", "uniform"]
COMMANDS = {
    "planned": ["-n", "--quiet", "rules"],
    "made": ["--quiet", "rules"],
    "dry no-op": ["-n", "--quiet", "rules"],
    "no-op": ["--quiet", "rules"],
}
REAL = "real-"  # names of folders whose studies were run for real
NOTHING = "Nothing to be done"


def network(index: int) -> dict[str, Any]:
    """A small network: the families in turn, each time with a larger image."""
    turn, number = divmod(index, len(FAMILIES))
    least = 32 if FAMILIES[number]["family"] == "vgg16" else 8
    return {**FAMILIES[number], "input_size": least * (1 + turn)}


def device(index: int) -> dict[str, Any]:
    """A virtual device with a staircase of its own."""
    model = {"overhead_us": 3.0, "us_per_mmac": 20000.0, "depthwise_us_per_mmac": 20000.0}
    model |= {"tile_out": 2 + index % 7, "tile_in": 4, "penalty_in": 1 + index / 100}
    return {"transport": "virtual", "rounds": 5, "min_step": 0.1, "cost_model": model}


def configuration(devices: int, networks: int) -> dict[str, Any]:
    """A study of a number of devices and of networks."""
    registries = {
        "devices": {f"dev{index}": device(index) for index in range(devices)},
        "networks": {f"net{index}": network(index) for index in range(networks)},
    }
    run = {key: [*entries] for key, entries in registries.items()}
    return {"run": {**run, "levels": [0.8], "seeds": [0], "methods": METHODS}, **registries, **SETTINGS}


class Scale:
    """What was measured so far, on file."""

    def __init__(self, out: Path, cores: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.cores, self.path = out, cores, out / "scale.jsonl"
        text = self.path.read_text() if self.path.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    def find(self, study: str, what: str) -> dict[str, Any] | None:
        """The line of a command, if it was run."""
        return next((one for one in self.lines if (one["study"], one["what"]) == (study, what)), None)

    def measure(self, study: str, what: str, words: list[str], config: dict[str, Any]) -> None:
        """Run one command in a study's folder and append what it took, once."""
        if self.find(study, what):
            return
        folder = self.out / study
        folder.mkdir(exist_ok=True)
        path = folder / f"{what.replace(' ', '-')}.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        took = command([*words, "--cores", str(self.cores)], folder, path, self.out)
        line = {"study": study, "what": what, **took}
        print(line, file=sys.stderr, flush=True)
        if line["status"]:
            raise SystemExit(f"{study}, {what}: status {line['status']}. See {folder / 'output.txt'}")
        self.lines.append(line)
        with open(self.path, "a") as stream:
            stream.write(json.dumps(line) + "\n")

    def study(self, size: str, real: bool) -> None:
        """Plan a study, make it, and find twice that nothing is to be done."""
        name = REAL + size if real else size
        config = configuration(*map(int, size.split("x")))
        for what, words in COMMANDS.items():
            extra = ["--executor", "recorded"] if what == "made" and not real else []
            self.measure(name, what, [*words, *extra], config)

    def add_device(self, size: str) -> None:
        """One more device in a study that is there: planned, made, and nothing left."""
        devices, networks = map(int, size.split("x"))
        config = configuration(devices + 1, networks)
        for what, words in COMMANDS.items():
            extra = ["--executor", "recorded"] if what == "made" else []
            self.measure(size, f"one more, {what}", [*words, *extra], config)

    def table(self) -> str:
        """A row for each study, as Markdown."""
        studies = list(dict.fromkeys(line["study"] for line in self.lines))
        header = ["study", "files", "jobs", *(f"{what}, CPU s (wall s)" for what in COMMANDS)]
        header += ["made, ms a job", "no-op, ms a job", "no-op, MiB"]
        rows = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
        for prefix in ("", "one more, "):
            for study in studies:
                found = [self.find(study, prefix + what) for what in COMMANDS]
                if all(found):
                    rows.append(row(prefix, study, found))
        return "".join(f"| {' | '.join(one)} |\n" for one in rows)


def row(prefix: str, study: str, found: list[Any]) -> list[str]:
    """Cells of a study."""
    made, dry = found[1], found[2]
    times = [f"{one['cpu_s']:.1f} ({one['wall_s']:.1f})" for one in found]
    each = [f"{1000 * one['cpu_s'] / max(1, made['ran']):.1f}" for one in (made, dry)]
    kind = "made" if study.startswith(REAL) else "copied"
    return [prefix + study.removeprefix(REAL), kind, str(made["ran"]), *times, *each, str(dry["peak_mib"])]


def command(words: list[str], folder: Path, config: Path, out: Path) -> dict[str, Any]:
    """Run Snakemake; its wall and CPU seconds, peak memory, and how many jobs it planned and ran."""
    recorded = next(iter(sorted(out.glob(f"{REAL}*"))), folder)
    path = os.pathsep.join(filter(None, [str(PLUGINS), str(ROOT), os.environ.get("PYTHONPATH")]))
    about = {**os.environ, "PYTHONPATH": path, "HAKD_RECORDED": str(recorded)}
    argv = [sys.executable, "-m", "snakemake", *words, "--snakefile", str(ROOT / "Snakefile")]
    argv += ["--directory", str(folder), "--configfile", str(config)]
    output, began = folder / "output.txt", time.monotonic()
    with open(output, "w") as stream:
        process = subprocess.Popen(argv, cwd=ROOT, env=about, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text()
    planned, ran = re.search(r"^total +(\d+)$", text, re.MULTILINE), re.findall(r"(\d+) of \d+ steps", text)
    return {
        "status": process.returncode,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "planned": int(planned[1]) if planned else 0,
        "ran": max(map(int, ran), default=0),
        "nothing": NOTHING in text,
    }


def main() -> int:
    """Exit status 1 when a finished study has something to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the studies and what is measured")
    parser.add_argument("--real", nargs="+", default=["1x1"], help="DEVICESxNETWORKS (default: %(default)s)")
    parser.add_argument("--recorded", nargs="*", default=["4x2", "20x5", "50x10", "52x12"], help="the same")
    parser.add_argument("--one-more", nargs="*", default=["50x10"], help="then add a device to these")
    parser.add_argument("--cores", type=int, default=2, help="(default: %(default)s)")
    arguments = parser.parse_args()
    scale = Scale(arguments.out.resolve(), arguments.cores)
    for size in arguments.real:
        scale.study(size, real=True)
    for size in arguments.recorded:
        scale.study(size, real=False)
    for size in arguments.one_more:
        scale.add_device(size)
    print(scale.table())
    return int(not all(line["nothing"] for line in scale.lines if "no-op" in line["what"]))


if __name__ == "__main__":
    sys.exit(main())
