"""What a user reads is written in the words of the field (CONTRIBUTING.md, "Words")."""

import re
from pathlib import Path

import pytest

from hakd.records.code import CHECKOUT

READ_BY_USERS = [
    path
    for pattern in (
        *("*.md", "Makefile", "Snakefile", "pyproject.toml", "docs/**/*.md", "docs/**/*.svg"),
        *("config/**/*.yaml", "config/*.md", "profiles/**/*.yaml", "rules/*.smk", "workflow/**/*.*"),
        *("hakd/**/*.py", "hakd/plots/web/*.*", "benchmarks/**/*.py", "benchmarks/*.md", ".ci/run"),
    )
    for path in sorted(CHECKOUT.glob(pattern))
    if path.suffix != ".pyc"
]
_COMPARED = "longer|more|less|other|better|worse|different|" + r"\w+er\b"
# Pattern of a private word -> what the field says.
WORDS = {
    r"foret(?:el|old)\w*": "predict",
    r"tell-?tales?": "check points",
    r"anew|afresh": "again, in new processes",
    r"beforehand": "in advance, before",
    r"so many": "the number of",
    r"tells|told|telling": "shows, is detected; undecided",
    r"weigh(?:s|ed|ing)?": "measure memory, take ... MiB",
    r"restless\w*|unrest": "unstable, scatter",
    r"rivals?": "baselines",
    r"treads?": "plateau",
    r"mend(?:s|ed|ing)?": "fix; what to set, and to what",
    rf"(?<!there )(?<!there's )is no (?!{_COMPARED})\w+": "is not a ...",
    r"(?:that|which) (?:are|is) none": "that are not ...",
    r"no word (?:about|of|on|why)": "no reason given",
    r"farewells?|last words|signs? of life|floods?|flooded": "goodbye message, last stderr line, no heartbeat",
    r"nobody|no one": "nothing, no process, without a terminal",
    r"values? twice": "duplicate value",
    r"and nothing else": "only",
    r"wander(?:s|ed|ing)?|struck|weather|blunt\w*": "drift, disturbed, conditions",
    r"dear|dearer|dearest": "expensive",
    r"for want of": "because there is no ...",
}


def private_words(text: str) -> list[str]:
    """'LINE: word (what to write)' of each private word."""
    return [
        f"{number}: {match.group()} ({instead})"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, instead in WORDS.items()
        for match in re.finditer(rf"\b(?:{pattern})\b", line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", READ_BY_USERS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_users_read_the_words_of_the_field(path: Path):
    assert private_words(path.read_text()) == []


def test_a_private_word_is_found_where_it_stands():
    found = private_words(
        "a plateau\nThis is no file, nobody told it.\nThere is no file; 4 is no slower than 5."
    )
    assert [line.partition(" (")[0] for line in found] == ["2: told", "2: is no file", "2: nobody"]
