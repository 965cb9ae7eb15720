"""Channel widths at which a pruned CNN is fast on your device: prune, time, snap to the staircase, distil."""

import os

__version__ = "0.1.0"

# Before anything imports onnxruntime: from 1.29 on it writes files and uploads unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
