"""Progress bars on stderr."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

BAR_DELAY_S = 2.0
LOGGED_BAR_S = 15.0  # where stderr is a file, each update of a bar is a line
Tick = Callable[..., Any]


@contextlib.contextmanager
def bar(label: str, total: int, wanted: bool) -> Iterator[Tick]:
    """A progress bar for what takes longer than a moment; sparse where stderr is a file."""
    if not wanted:
        yield lambda count, more=False: None
        return
    from tqdm import tqdm

    every_s = 0.5 if sys.stderr.isatty() else LOGGED_BAR_S
    with tqdm(
        total=total, desc=label, delay=BAR_DELAY_S, mininterval=every_s, file=sys.stderr, dynamic_ncols=True
    ) as shown:

        def tick(count: int, more: bool = False) -> None:
            """Count what is done, or add `more` to the total."""
            if more:
                shown.total += count
            else:
                shown.update(count)

        yield tick
