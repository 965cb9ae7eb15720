"""The faults that a board over ssh has to survive, each once: how it is made, and what the client has to say of it.

tests/boards/test_ssh_faults.py runs each as a test, benchmarks/faults.py all of them for the table in docs/faults.md.
A fault is a function of a `Case`: it starts clients, strikes, waits for the client's last word, and mends what a user
would mend. `run` then asks of every case the same.
"""

from tests.boards.faults import deaths, lies, links, logins
from tests.boards.faults.registry import FAULTS, case, run

__all__ = ["FAULTS", "case", "deaths", "lies", "links", "logins", "run"]
