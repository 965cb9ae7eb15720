"""The one exception that a user's mistake or a device's fault becomes."""

import os

SWEEP_AGAIN = "Sweep the network again: `hakd sweep`, or in a study its command with `-R sweep` at the end"


class HakdError(Exception):
    """Something the user can correct; printed as one line, never as a traceback.

    Args:
        problem: what is wrong, in one clause.
        where: the file (or device) that holds the mistake.
        key: the key, column or field in it.
        remedy: what to do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        key: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.where, self.key, self.remedy = problem, where, key, remedy
        place = ": ".join(str(part) for part in (where, key) if part is not None)
        text = f"{place}: {problem}" if place else problem
        super().__init__(f"{text}. {remedy}" if remedy else text)

    def __reduce__(self) -> tuple:
        return (_rebuild, (type(self), self.problem, self.where, self.key, self.remedy))


def _rebuild(
    kind: type[HakdError], problem: str, where: object, key: object, remedy: str | None
) -> HakdError:
    """Unpickle across process pools: keyword-only arguments need a helper."""
    return kind(problem, where=where, key=key, remedy=remedy)


def run_again(target: object) -> str:
    """The remedy that makes a file or all files of a rule again, and what follows from them.

    Deleting an intermediate file does nothing: Snakemake does not notice while the study's last files are there.
    """
    return f"Run the study's command with `-R {target}` at its end"


def make_again(
    path: object, otherwise: str = "Give another file, or write it again with the command that made it"
) -> str:
    """The remedy for a file that is missing, damaged or of another version: of a study, or (`otherwise`) another."""
    name = os.path.normpath(str(path))
    folders = name.split(os.sep)
    if folders[0] != "results":
        return otherwise
    # Of architectures Snakemake knows nothing. Whatever has chosen widths writes them, and these rules come first.
    return run_again("widths baseline_widths" if folders[1:2] == ["architectures"] else name)
