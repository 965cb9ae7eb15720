"""What must hold of the repository as a whole: the lock, the licence, what is tracked, links in the documentation."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
SLURM_LOCK = (ROOT / "slurm.lock").read_text()
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
SLURM = [Requirement(text) for text in PROJECT["dependency-groups"]["slurm"]]
LARGEST_BYTES = 1_000_000
MADE = {"results", "logs", "runs", "best", "data", "build", "dist"}  # as .gitignore names them


def repository_files() -> list[Path]:
    """Tracked files and those that would be tracked by `git add`; all plain ones where git cannot tell."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split(
            "\0"
        )
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        inside = [path for path in ROOT.iterdir() if path.name not in MADE and not path.name.startswith(".")]
        found = [path for top in inside for path in (top.rglob("*") if top.is_dir() else [top])]
        paths = [path for path in found if "__pycache__" not in path.parts]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


FILES = repository_files()


def text_of(path: Path) -> str:
    """A file's text; empty for files that hold none."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode(errors="replace")


def locked(lock: str = LOCK) -> dict[str, list[tuple[str, Marker | None, int]]]:
    """Per package of a lock: version, marker and number of hashes, once for each of its entries."""
    entries: dict[str, list[tuple[str, Marker | None, int]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock, flags=re.IGNORECASE):
        first = re.match(r"(\S+)==(\S+?)(?: ; (.+?))? \\\n", block)
        assert first, f"no pinned package with hashes: {block[:80]!r}"
        name, version, marker = first.groups()
        count = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
        entries.setdefault(canonicalize_name(name), []).append(
            (version, Marker(marker) if marker else None, count)
        )
    return entries


@pytest.mark.parametrize("lock", [LOCK, SLURM_LOCK], ids=["requirements", "slurm"])
def test_lock_names_no_place_to_download_from(lock):
    assert "://" not in lock
    assert not re.search(r"^\s*(-\S|@|\S+ @)", lock.replace("    --hash", "    hash"), re.MULTILINE)


def test_every_package_of_the_lock_has_hashes():
    entries = locked()
    assert len(entries) > len(RUNTIME) + len(DEVELOPMENT)
    assert [name for name, versions in entries.items() if any(count == 0 for _, _, count in versions)] == []


def test_lock_of_the_plugin_for_slurm_has_what_the_environment_lacks():
    entries = locked(SLURM_LOCK)
    assert set(entries) == {canonicalize_name(requirement.name) for requirement in SLURM}
    assert not set(entries) & set(locked())
    for requirement in SLURM:
        ((version, marker, hashes),) = entries[canonicalize_name(requirement.name)]
        assert version in requirement.specifier and marker is None and hashes
    (extra,) = PROJECT["project"]["optional-dependencies"]["slurm"]
    assert Requirement(extra) in SLURM


@pytest.mark.parametrize("requirement", RUNTIME + DEVELOPMENT, ids=lambda requirement: requirement.name)
def test_lock_pins_what_pyproject_asks_for(requirement):
    versions = locked().get(canonicalize_name(requirement.name))
    assert versions, f"{requirement.name} is missing in requirements.lock; run `make lock`"
    assert [version for version, _, _ in versions if version not in requirement.specifier] == []


def test_conda_environment_of_the_rules_has_the_versions_of_the_lock():
    content = yaml.safe_load((ROOT / "envs" / "study.yaml").read_text())
    listed = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    python = next(entry for entry in content["dependencies"] if str(entry).startswith("python=")).split("=")[
        1
    ]
    target = {"python_version": python, "python_full_version": f"{python}.0"}
    expected = {
        f"{canonicalize_name(wanted.name)}=={version}"
        for wanted in RUNTIME
        for version, marker, _ in locked()[canonicalize_name(wanted.name)]
        if marker is None or marker.evaluate(target)
    }
    assert len(expected) == len(RUNTIME)
    assert set(listed) == expected, "envs/study.yaml: write the versions of requirements.lock"


def foreign_imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports from elsewhere, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text_of(path), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names) - {"hakd"}


def test_every_import_is_a_declared_dependency():
    distributions = packages_distributions()
    runtime = {canonicalize_name(requirement.name) for requirement in RUNTIME}
    development = runtime | {canonicalize_name(requirement.name) for requirement in DEVELOPMENT}
    missing = []
    for path in FILES:
        place = path.relative_to(ROOT)
        if path.suffix != ".py" or place.parts[0] not in ("hakd", "workflow", "tests"):
            continue
        allowed = development if place.parts[0] == "tests" else runtime
        own = {other.stem for other in path.parent.glob("*.py")} | {"tests", "benchmarks"}
        for name in foreign_imports(path) - own:
            if not {canonicalize_name(found) for found in distributions.get(name, ())} & allowed:
                missing.append(f"{place}: {name}")
    assert missing == []


@functools.cache
def names_in(module: str) -> set[str]:
    """What a module of the project binds, anywhere in it; of a folder also its modules."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = {other.stem for other in path.glob("*")}
    for node in ast.walk(ast.parse(text_of(file))) if file.exists() else []:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_what_scripts_and_benchmarks_import_from_the_project_is_there():
    # Types are checked in the package only, and most of these files run in no unit test.
    missing = []
    for path in FILES:
        place = path.relative_to(ROOT)
        if path.suffix == ".py" and place.parts[0] in ("benchmarks", "workflow"):
            for node in ast.walk(ast.parse(text_of(path))):
                if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in (
                    "hakd",
                    "benchmarks",
                    "tests",
                ):
                    names = {alias.name for alias in node.names} - names_in(node.module)
                    missing += [f"{place}: {node.module}.{name}" for name in sorted(names)]
    assert missing == []


def test_every_benchmark_is_in_the_table_of_its_readme():
    scripts = {
        path.stem for path in FILES if path.parent.name == "benchmarks" and "__main__" in text_of(path)
    }
    rows = re.findall(r"^\| `(\w+)` \|", text_of(ROOT / "benchmarks" / "README.md"), re.MULTILINE)
    assert rows == sorted(scripts)


def test_no_module_imports_from_a_test_module_or_a_conftest():
    # By text, since some tests hold the code of a process that they start.
    line = re.compile(
        r"^\s*(?:from|import)\s.*(?<![\w.])(?:\w+\.)*(?:test_\w+|conftest)(?: import|,|$)", re.MULTILINE
    )
    assert line.search("    from tests.unit.test_data import rows") and line.search("import conftest")
    python = [path for path in FILES if path.suffix == ".py"]
    assert [str(path.relative_to(ROOT)) for path in python if line.search(text_of(path))] == []


def test_licence_is_the_one_that_pyproject_names():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "MIT"
    assert text.startswith("MIT License\n\nCopyright (c) ")
    assert 'PROVIDED "AS IS"' in text


def test_no_file_is_large():
    assert len(FILES) > 20
    assert [str(path.relative_to(ROOT)) for path in FILES if path.stat().st_size > LARGEST_BYTES] == []


def test_nothing_generated_is_tracked():
    tops = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert tops & (MADE | {".venv", ".snakemake"}) == set()


def test_no_file_holds_a_path_of_one_machine():
    # Put together from parts, or this file would be found.
    tops = "|".join(("home", "Users", "root", "work"))
    pattern = re.compile(rf"(?<![\w.~>)}}-])/(?:{tops})/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line) or str(Path.home()) + "/" in line or f"{ROOT}/" in line
    ]
    assert found == []


def test_no_file_chooses_a_package_registry():
    option = re.compile("--(?:extra-)?" + "index-url|" + "find-" + "links[ =]", re.IGNORECASE)
    refused = re.compile(r"--no-emit-\S+")  # what keeps such an option out of the lock
    found = [str(path.relative_to(ROOT)) for path in FILES if option.search(refused.sub("", text_of(path)))]
    assert found == []


def test_sources_are_of_readable_length():
    long = {
        str(path.relative_to(ROOT)): count
        for path in FILES
        if (path.suffix in (".py", ".smk") or path.name == "Snakefile")
        and (count := text_of(path).count("\n")) > 500
    }
    assert long == {}


def test_links_in_the_documentation_lead_somewhere():
    broken = []
    for path in FILES:
        if path.suffix != ".md":
            continue
        # Code blocks hold no links.
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            place = target.split("#")[0]
            if (
                place
                and "://" not in place
                and not place.startswith("mailto:")
                and not (path.parent / place).exists()
            ):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_continuous_integration_script_runs_the_checks():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make test")
    subprocess.run(["bash", "-n", script], check=True)


def test_commit_hooks_call_what_the_environment_has():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {"ruff-check", "ruff-format", "mypy", "codespell", "snakefmt"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        python, flag, module, *_ = hook["entry"].split()
        assert (python, flag, hook["language"]) == (".venv/bin/python", "-m", "system")
        subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True)
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
