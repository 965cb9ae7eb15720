"""The error for a link that was lost or cannot be made now: the only kind that a later try may fix by itself."""

from hakd.records.errors import HakdError


class LinkLost(HakdError):
    """No link to the board: its network, its power or its sshd is away. Everything else is a plain `HakdError`."""

    def after(self, tries: int, last: HakdError) -> "LinkLost":
        """The same error after `tries` failed tries to connect again, the last one with `last`."""
        if not tries:
            return self
        if last is self:  # connected each time, and lost again before a result
            came = f"lost {tries + 1} times in all without a result"
        elif tries == 1:
            came = f"the try to connect again failed: {last.problem}"
        else:
            came = f"{tries} tries to connect again failed, the last: {last.problem}"
        return LinkLost(f"{self.problem}; {came}", where=self.where, key=self.key, remedy=self.remedy)
