"""How the C library allocates memory to training on the CPU."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3), as <malloc.h> numbers them
_NEVER = 2**31 - 1  # bytes: free memory at the top that is given back; the most that mallopt takes
_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next step.

    glibc maps each large tensor and gives it back when it is freed, so every step of training faults in all its pages
    again: some 7,000 of them for a MobileNet x 0.25 at 28 x 28 pixels and a batch of 64. Kept, steps are 1.1 to 1.4
    times as fast there (docs/training.md). The process holds its largest step's memory until it ends.

    Returns:
        Whether it was set: false where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; another system
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER), mallopt(_TOP_PAD, _PAD_BYTES)])
