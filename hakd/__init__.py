"""Networks that are fast on the device in front of you: prune, time, snap to the staircase, distil."""

import os

__version__ = "0.1.0"

# Before anything imports onnxruntime: from 1.29 on it writes files and uploads unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
