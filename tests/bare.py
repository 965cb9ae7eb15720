"""Python as a bare board has it: numpy and an engine, but neither this project nor what else its environment holds."""

import os
import subprocess
import sys
from pathlib import Path

LACKING = ("torch", "hakd", "pandas", "onnx", "scipy", "snakemake", "tests")
_SITE = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError("lacking here: " + name)

sys.meta_path.insert(0, Lacking())
"""


def run_bare(folder: Path, *arguments: str, lacking: tuple[str, ...] = ()) -> str:
    """What Python prints in `folder`, without the modules of `LACKING` and `lacking`."""
    site = folder.parent / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_SITE.replace("{names}", repr({*LACKING, *lacking})))
    about = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    about |= {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=about, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
