"""What jobs of a study cost besides their training steps: CPU seconds before the first, after the last, at the end.

Snakemake runs each script by a `python` of its own, after a preamble that rebuilds the object `snakemake`. Of a
finished study whose scripts were kept, one job of each script runs again here, in new processes, alternating:

    snakemake --cores 2 --directory FOLDER --skip-script-cleanup [--configfile config/smoke.yaml]
    python -m benchmarks.job_start FOLDER [--against OTHER_CHECKOUT] [--scripts student tuned] [--rounds 5]
    python -m benchmarks.job_start FOLDER --imports student
    python -m benchmarks.job_start FOLDER --commands [--against OTHER_CHECKOUT]

Printed are medians over the rounds. The jobs write their results again into FOLDER.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
END = "######## snakemake preamble end #########\n"
PHASES = ("python", "preamble", "imports", "to step 1", "steps", "after", "exit")
# Runs a kept script and notes the CPU seconds at the end of each phase. The script shares its names.
CLOCK = """
import contextlib as _contextlib, json as _json, resource as _resource, sys as _sys
_marks, _steps = [], []
def _now():
    used = [_resource.getrusage(who) for who in (_resource.RUSAGE_SELF, _resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
_marks.append(_now())
__file__, _preamble, _body, _out = _sys.argv[1:]
exec(_preamble)
_marks.append(_now())
import hakd.study.scripting as _scripting
_inner = _scripting.reporting
@_contextlib.contextmanager
def _reporting(*about):
    _marks.append(_now())
    if "torch" in _sys.modules:
        from torch.optim.optimizer import register_optimizer_step_post_hook as _register
        _register(lambda *_: _steps.append(_now()))
    with _inner(*about):
        yield
    _marks.append(_now())
    with open(_out, "w") as stream:
        _json.dump([_marks, _steps], stream)
_scripting.reporting = _reporting
exec(_body)
"""


def main() -> None:
    """Print a row for each script or command, and one more for each of the other checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a finished study whose scripts were kept")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with the code there")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--scripts", nargs="+", default=[], help="only these (default: all that were kept)")
    parser.add_argument("--commands", action="store_true", help="time commands that are given often instead")
    parser.add_argument("--imports", metavar="SCRIPT", help="print the packages that this one loads instead")
    arguments = parser.parse_args()
    kept = kept_scripts(arguments.folder)
    if arguments.imports:
        print_imports(kept[arguments.imports], arguments.folder)
        return
    checkouts = {"": HERE, **({" (other)": arguments.against.resolve()} if arguments.against else {})}
    if arguments.commands:
        print_commands(checkouts, arguments.rounds)
        return
    measured: dict[str, list[list[float]]] = {}
    for _ in range(arguments.rounds):
        for name in arguments.scripts or kept:
            for label, checkout in checkouts.items():
                row = phases(name, kept[name], checkout, arguments.folder)
                measured.setdefault(f"{name}{label}", []).append(row)
    print(f"| job | {' | '.join(PHASES)} | all but steps | peak MiB |\n|---|{'---|' * (len(PHASES) + 2)}")
    for name, rows in measured.items():
        *seconds, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        around = statistics.median(sum(row[:-1]) - row[PHASES.index("steps")] for row in rows)
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in [*seconds, around])} | {peak:.0f} |")


def kept_scripts(folder: Path) -> dict[str, str]:
    """The text of one kept job of each script, by the script's name."""
    paths = sorted((folder / ".snakemake" / "scripts").glob("tmp*.*.py"))
    if not paths:
        raise SystemExit(f"{folder}: no scripts were kept. Run the study with --skip-script-cleanup")
    return {path.name.split(".")[1]: path.read_text() for path in paths}


def phases(name: str, text: str, checkout: Path, folder: Path) -> list[float]:
    """CPU seconds of a job by phase and its peak memory in MiB, run by the script and the package of `checkout`.

    The first step counts as a usual one: what it takes longer belongs to what comes before. Without steps all work is
    after the last.
    """
    script = checkout / "workflow" / "scripts" / f"{name}.py"
    with tempfile.NamedTemporaryFile() as stream:
        words = [str(script), text.partition(END)[0], script.read_text(), stream.name]
        total, peak = used([sys.executable, "-P", "-c", CLOCK, *words], checkout, folder)
        marks, steps = json.load(stream)
    *begin, end = marks
    usual = statistics.median(b - a for a, b in pairwise(steps)) if steps[1:] else 0.0
    training = [steps[0] - usual, steps[-1]] if steps else [begin[-1]] * 2
    ends = [*begin, *training, end, total]
    return [*(b - a for a, b in pairwise([0.0, *ends])), peak]


def used(command: list[str], checkout: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds and MiB that a command with its children takes, run in `folder` with the code of `checkout`."""
    about = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=about, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{checkout}: status {process.returncode} of {command[-4:-3]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def print_commands(checkouts: dict[str, Path], rounds: int) -> None:
    """Print the CPU seconds of commands that are given often."""
    print("| command | CPU s |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for words in ("hakd --help", "snakemake --dry-run --quiet --directory"):
            seconds: dict[str, list[float]] = {label: [] for label in checkouts}
            for _ in range(rounds):
                for label, checkout in checkouts.items():
                    place = [folder] if words.endswith("--directory") else []
                    command = [sys.executable, "-m", *words.split(), *place]
                    seconds[label].append(used(command, checkout, checkout)[0])
            for label, found in seconds.items():
                print(f"| `{' '.join(words.split()[:2])}`{label} | {statistics.median(found):.2f} |")


def print_imports(text: str, folder: Path) -> None:
    """Print what loading the modules of each package takes in a whole job."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as stream:
        stream.write(text)
        stream.flush()
        command = [sys.executable, "-P", "-X", "importtime", stream.name]
        about = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=about, capture_output=True, text=True, check=True)
    took: Counter[str] = Counter()
    for own, package in re.findall(r"^import time: +(\d+) \| +\d+ \| +([\w]+)", done.stderr, re.MULTILINE):
        took[package] += int(own)
    for package, microseconds in took.most_common(15):
        print(f"{microseconds / 1000:8.0f} ms  {package}")


if __name__ == "__main__":
    main()
