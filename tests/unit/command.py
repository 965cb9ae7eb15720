"""The command line in a fresh process, as a user has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hakd.records.code import CHECKOUT

HEAVY = ("torch", "pandas", "scipy", "numpy", "onnx", "yaml", "jsonschema", "hakd.boards")
LOADED = """
import json, sys
from hakd.cli import main
try:
    status = main(json.loads(sys.argv[1]))
except SystemExit as end:
    status = end.code
print(json.dumps([status, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]), file=sys.stderr)
"""


def run(*words: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """`python -m hakd` as a user would."""
    command = [sys.executable, "-m", "hakd", *words]
    about = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        command, cwd=cwd, env=about, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def loaded(words: list[str], heavy: tuple[str, ...]) -> tuple[int, list[str]]:
    """Exit status of a command in a fresh process, and which of these modules it loaded."""
    command = [sys.executable, "-c", LOADED, json.dumps(words), json.dumps(heavy)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    status, names = json.loads(done.stderr.splitlines()[-1])
    return status, names
