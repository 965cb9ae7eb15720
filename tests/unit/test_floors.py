"""The package's floors: imports go down only, and light modules stay light."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "hakd"

# Lowest first. A room is a folder of hakd/; of modules directly in it there are only the command's.
FLOORS = (
    {"ops"},
    {"records"},
    {"analysis", "boards", "data", "importing", "staircase"},
    {"networks"},
    {"choosing", "study", "training", "transfer"},
    {"deep_compression", "doctor", "plots", "pruning", "sweeping"},
    {"evaluation", "latency_tables", "planning", "search"},
    {"explaining"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
LIGHT = (
    "analysis",
    "boards",
    "choosing",
    "deep_compression/codec.py",
    "deep_compression/inspecting.py",
    "deep_compression/settings.py",
    "latency_tables",
    "ops",
    "plots",
    "records",
    "search",
    "staircase",
    "study",
    "sweeping",
)
ON_THE_BOARD = (
    *("agent.py", "energy.py", "engines.py", "kernels.py", "opencl.py", "prepared.py", "worker.py"),
)
ENGINES = {"numpy"}  # the engine itself is imported by name

MODULES = sorted(PACKAGE.rglob("*.py"))
# Imports each module in turn in one fresh process and names the first after which a heavy one is loaded.
PROBE = """
import importlib, json, sys
names, heavy = json.loads(sys.argv[1])
for name in names:
    importlib.import_module(name)
    for other in heavy:
        if other in sys.modules:
            sys.exit(f"{name} imports {other}")
"""


def place(path: Path) -> str:
    """A file's path in the checkout, for messages."""
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    """The room that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> list[str]:
    """All modules that a file imports, wherever in the file, as dotted names; `from hakd import x` as hakd.x."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(path)}:{node.lineno}: write hakd.… in full"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def rooms_used(path: Path) -> set[str]:
    """The rooms that a file imports, its own left out."""
    used = {name.split(".")[1] for name in imports(path) if name.startswith("hakd.")}
    return used - {room(path), "__version__"}


def test_every_room_is_a_folder_with_a_floor():
    found = {room(path) for path in MODULES} - {"__init__"}
    assert found == set(FLOOR), "enter the new folder in FLOORS and in CONTRIBUTING.md, or remove the old one"
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli"}


def test_the_contributors_guide_shows_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = re.findall(r"^      (\w+)/ {2,}\S", text, re.MULTILINE)
    assert sorted(shown) == sorted(set(FLOOR) - {"cli", "__main__"})


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_go_down_only(path):
    height = -1 if room(path) == "__init__" else FLOOR[room(path)]
    assert {other: FLOOR[other] for other in rooms_used(path) if FLOOR[other] >= height} == {}


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_every_module_says_what_it_is_for(path):
    assert (ast.get_docstring(ast.parse(path.read_text())) or "").strip()


def test_the_package_does_not_know_the_workflow_engine():
    assert [
        place(path) for path in MODULES if any(name.split(".")[0] == "snakemake" for name in imports(path))
    ] == []


def loaded(names: list[str], heavy: list[str]) -> str:
    """What a fresh process says that loads the modules `names` and looks for the modules `heavy`."""
    command = [sys.executable, "-c", PROBE, json.dumps([names, heavy])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)
    return done.stderr


def test_light_modules_load_no_torch():
    names = [
        dotted(path)
        for path in MODULES
        if any(path == PACKAGE / light or PACKAGE / light in path.parents for light in LIGHT)
    ]
    assert {"hakd.records.files", "hakd.boards.agent", "hakd.deep_compression.codec"} <= set(names)
    assert loaded(names, ["torch"]) == ""


def test_what_the_rules_import_is_light():
    # Every job that Snakemake starts reads the rules again.
    text = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
    names = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", text, re.MULTILINE)
    assert any(name.startswith("hakd.") for name in names)
    assert (
        loaded(sorted(set(names)), ["torch", "torchvision", "pandas", "seaborn", "onnxruntime", "scipy"])
        == ""
    )


@pytest.mark.parametrize("name", ON_THE_BOARD)
def test_what_runs_on_the_board_needs_python_and_the_engine_only(name):
    path = PACKAGE / "boards" / name
    travel_with = tuple(f"hakd.boards.{other.removesuffix('.py')}." for other in ON_THE_BOARD)
    used = {full.split(".")[0] for full in imports(path) if not full.startswith(travel_with)}
    assert used - set(sys.stdlib_module_names) <= ENGINES
    ast.parse(path.read_text(), feature_version=(3, 8))
