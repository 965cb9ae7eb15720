"""`make env` from nothing, again, after a failure and without a fitting Python; on a lock that needs no download."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMPTY = "# nothing to install\n"
BROKEN = f"./absent-1.0-py3-none-any.whl --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and a lock of no packages."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").write_text(EMPTY)
    return tmp_path


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make in `folder`, as from a shell of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))
    }
    environment["PATH"] = path or environment["PATH"]
    command = [str(shutil.which("make")), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_environment_is_made_once_and_again_only_for_another_lock(checkout):
    first = make(checkout, "env", f"PYTHON={sys.executable}")
    assert first.returncode == 0, first.stderr
    stamp = checkout / ".venv" / "requirements.lock"
    assert stamp.read_text() == EMPTY
    marker = checkout / ".venv" / "made-first"
    marker.touch()

    assert make(checkout, "--question", "env").returncode == 0

    # The same lock with a later date, as after `git checkout`.
    later = stamp.stat().st_mtime + 10
    os.utime(checkout / "requirements.lock", (later, later))
    assert make(checkout, "env").returncode == 0
    assert marker.exists()

    # Another lock whose installation fails leaves no stamp, so that the next run does not believe it done.
    (checkout / "requirements.lock").write_text(BROKEN)
    os.utime(checkout / "requirements.lock", (later + 20, later + 20))
    assert make(checkout, "env").returncode != 0
    assert not stamp.exists()
    assert not marker.exists()
    assert make(checkout, "--question", "env").returncode == 1


def test_the_plugin_for_slurm_lies_in_a_folder_of_its_own(checkout):
    (checkout / "slurm.lock").write_text(EMPTY)
    done = make(checkout, "slurm", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    folder = checkout / ".venv" / "slurm"
    assert (folder / "slurm.lock").read_text() == EMPTY
    (folder / "made-first").touch()
    assert make(checkout, "slurm").returncode == 0 and (folder / "made-first").exists()
    (checkout / "slurm.lock").write_text(BROKEN)
    later = (folder / "slurm.lock").stat().st_mtime + 10
    os.utime(checkout / "slurm.lock", (later, later))
    assert make(checkout, "slurm").returncode != 0 and not (folder / "slurm.lock").exists()


def test_an_environment_without_its_interpreter_is_not_up_to_date(checkout):
    stamp = checkout / ".venv" / "requirements.lock"
    stamp.parent.mkdir()
    stamp.write_text(EMPTY)
    assert make(checkout, "--question", "env").returncode == 1


def interpreter(folder: Path, name: str, status: int) -> None:
    """A command that answers the question for the version with `status`."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)


def test_no_fitting_python_gives_one_clear_error(checkout, tmp_path):
    commands = tmp_path / "commands"
    commands.mkdir()
    for tool in ("sh", "cmp", "test"):
        (commands / tool).symlink_to(str(shutil.which(tool)))
    interpreter(commands, "python3", 1)  # too old
    done = make(checkout, "env", path=str(commands))
    assert done.returncode != 0
    assert "Install Python 3.11" in done.stderr
    assert not (checkout / ".venv").exists()


def test_help_names_every_target(checkout):
    done = make(checkout)
    assert done.returncode == 0
    phony = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY: help")
    )
    targets = phony.removeprefix(".PHONY: ").split()
    assert {"env", "slurm", "study", "test", "lint", "format", "lock", "clean"} <= set(targets)
    assert [target for target in targets if f"\n  {target} " not in done.stdout] == []


def test_clean_keeps_the_environment_and_results(checkout):
    kept = [checkout / ".venv" / "lib" / "__pycache__" / "a.pyc", checkout / "results" / "a.json"]
    gone = [checkout / "hakd" / "__pycache__" / "a.pyc", checkout / ".mypy_cache" / "a"]
    for path in kept + gone:
        path.parent.mkdir(parents=True)
        path.touch()
    assert make(checkout, "clean").returncode == 0
    assert [path.exists() for path in kept + gone] == [True, True, False, False]


def test_the_command_runs_from_anywhere_and_moves_with_the_checkout(checkout, tmp_path):
    assert make(checkout, "env", f"PYTHON={sys.executable}").returncode == 0
    moved = tmp_path.parent / f"{tmp_path.name} moved"
    checkout.rename(moved)
    (moved / "hakd").mkdir()
    (moved / "hakd" / "__init__.py").touch()
    (moved / "hakd" / "__main__.py").write_text("import sys\nprint(sys.argv[1:], __file__)\n")
    link = moved / "elsewhere"
    link.symlink_to(moved / ".venv" / "bin" / "hakd")
    for command in (moved / ".venv" / "bin" / "hakd", link):
        done = subprocess.run([command, "a b", "$c"], cwd="/", capture_output=True, text=True, check=True)
        assert done.stdout == f"['a b', '$c'] {moved / 'hakd' / '__main__.py'}\n"
