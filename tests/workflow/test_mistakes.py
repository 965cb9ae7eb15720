"""Mistakes in the configuration as Snakemake's user sees them: a line that names file, key and remedy.

What is said of each kind of mistake is held by tests/unit/test_configuration_mistakes.py.
"""

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.beside

GOOD = "teacher: {epochs: 3}"


@pytest.mark.parametrize(
    ("files", "words", "message"),
    [
        (["devices: {a: {}}\ndevices: {b: {}}"], [], r"my0\.yaml: not YAML \(duplicate key 'devices', line 2\)\. "),
        (
            [GOOD, "run: {levels: [1.50]}"],
            [],
            r"my1\.yaml: run\.levels\.0: 1\.50 is not accepted\. Give at most 1: ",
        ),
        (
            ["devices: {local: {lock_path: /tmp/$(touch x)}}", GOOD],
            [],
            r"my0\.yaml: devices\.local\.lock_path: /tmp/\$\(touch x\) is not accepted\. ",
        ),
        ([GOOD], ["--config", "run=3"], r"--config: run: 3 is not accepted\. Give a mapping"),
        ([GOOD], ["--config", "run.levels=1"], r"--config: run\.levels=1 is not accepted\. Write KEY=VALUE"),
        ([GOOD, "run:\n\tlevels: [1]"], [], r"my1\.yaml: cannot be read .*line 2\)\. Correct the file"),
        ([GOOD], ["results/pareto.pdf"], r"results/pareto\.pdf: cannot be read .*; what to make stands before"),
    ],
)  # fmt: skip
def test_snakemake_s_user_sees_one_line(root, tmp_path, files, words, message):
    names = [f"my{index}.yaml" for index in range(len(files))]
    for name, text in zip(names, files, strict=True):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", root / "Snakefile"]
    done = subprocess.run(
        [*command, "--configfile", *names, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in output and 'File "' not in output
    (line,) = [
        line for line in output.splitlines() if not re.match("Using workflow specific|Config file ", line)
    ]
    assert re.match(f"error: {message}", line), line
    assert not (tmp_path / "results").exists()
