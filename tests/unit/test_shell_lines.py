"""The shell lines of the documentation and of `--help`: the real parsers take them, and what they name is there."""

import re
import shlex

import pytest
from snakemake.cli import get_argument_parser

from hakd.cli import COMMANDS, parser
from hakd.networks.families import full_widths
from hakd.records.code import CHECKOUT
from hakd.study.files import read_configuration
from hakd.study.networks import network_of

PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "config" / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
BUILT_IN = CHECKOUT / "config" / "config.yaml"
OWN = {"my.yaml", "own.yaml"}  # a reader's own file, by the name that the documentation gives it
SYNOPSIS = re.compile(r"\b[A-Z]{4,}\b|\[|\.\.\.|\| |\{")  # a line that stands for several
SLURM = re.compile(r" --(?:executor slurm|slurm-\S+ \S+)")  # options of an optional extra


def lines(command: str) -> list[str]:
    """Those in code blocks, in inline code with an option, in configurations and in examples of `--help`."""
    texts = [path.read_text() for path in [*PAGES, *(CHECKOUT / "config").glob("*.yaml")]]
    found = [
        line
        for text in texts
        for line in re.findall(
            rf"^(?: {{4}}|#   )({command} .+)$|`({command} -\S+ [^`]+)`",
            text.replace("\\\n", " "),
            re.MULTILINE,
        )
    ]
    shown = [re.sub(" {3,}.*", "", one or other) for one, other in found]
    for name in [module.__name__.rpartition(".")[2].replace("_", "-") for module in COMMANDS]:
        shown += re.findall(rf"^  ({command} .+?)(?: {{3,}}.*)?$", help_of(name), re.MULTILINE)
    return [line for line in dict.fromkeys(shown) if not SYNOPSIS.search(line.split(" #")[0])]


def help_of(name: str) -> str:
    """What `hakd NAME --help` prints."""
    actions = [action for action in parser()._actions if isinstance(action.choices, dict)]
    return actions[0].choices[name].format_help()


def words(line: str) -> list[str]:
    """The words after the command."""
    return shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("line", lines("hakd"))
def test_a_line_with_hakd_is_understood(line):
    arguments = parser().parse_args(words(line))
    groups = [*(getattr(arguments, "groups", None) or []), *(getattr(arguments, "group", None) or [])]
    config = read_configuration([BUILT_IN])
    names = [getattr(arguments, "network", None) or "mobilenet"]
    known = set() if ":" in names[0] else set(full_widths(network_of(config, names[0])))
    assert set(groups) <= known
    files = getattr(arguments, "config", None) or []
    assert all(str(path) in OWN or (CHECKOUT / path).is_file() for path in files)


@pytest.mark.parametrize("line", lines("snakemake"))
def test_a_line_with_snakemake_is_understood_and_keeps_the_built_in_results(line):
    arguments = get_argument_parser().parse_args(words(SLURM.sub("", line)))
    for path in arguments.configfile:
        assert str(path) in OWN or (CHECKOUT / path).is_file(), path  # a target would be one too
    assert not arguments.configfile or arguments.directory, (
        "the built-in study's results would be overwritten"
    )
    snakefiles = "".join(
        path.read_text() for path in [CHECKOUT / "Snakefile", *(CHECKOUT / "rules").glob("*.smk")]
    )
    for target in arguments.targets:
        assert f'"{target}"' in snakefiles or re.search(rf"^rule {target}:", snakefiles, re.MULTILINE), target


def test_lines_with_make_name_what_the_makefile_makes():
    makefile = (CHECKOUT / "Makefile").read_text()
    for line in lines("make"):
        (target,) = [word for word in words(line) if "=" not in word]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
