"""Networks that are fast on the device in front of you: prune, time, snap to the staircase, distil."""

__version__ = "0.1.0"
