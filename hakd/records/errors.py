"""The one exception that a user's mistake or a device's fault becomes."""


class HakdError(Exception):
    """Something the user can mend; printed as one line, never as a traceback.

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
