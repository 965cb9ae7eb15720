"""What `hakd explain` makes of many ONNX files: a report, a refusal in one line, or a defect.

    python -m benchmarks.users_models FOLDER_OR_FILE... --device DEVICE

Everything behind `--` goes to `hakd explain`. One line a file as it comes, and the counts at the end.
"""

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

KINDS = ("report", "refused", "defect", "too long")


def explained(path: Path, words: list[str], limit_s: float) -> tuple[str, str]:
    """What kind of end it came to, and the line that says so."""
    command = [sys.executable, "-m", "hakd", "explain", str(path), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return "too long", f"more than {limit_s:g} s"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if "Traceback" in done.stderr or "a defect of hakd" in last:
        return "defect", last
    if done.returncode == 0 and done.stdout.strip():
        return "report", done.stdout.splitlines()[0].removeprefix(f"{path} ")
    return "refused" if last.startswith("error: ") else "defect", last.replace(f"{path}: ", "")


def main() -> None:
    """Go through the files."""
    words = sys.argv[1:]
    more = words[words.index("--") + 1 :] if "--" in words else []
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER_OR_FILE")
    parser.add_argument("--device", required=True, metavar="DEVICE", help="where to time")
    parser.add_argument("--limit", type=float, default=600.0, metavar="SECONDS", help="for one file")
    own = words[: words.index("--")] if "--" in words else words
    arguments = parser.parse_args(own)
    files = [
        file
        for path in arguments.paths
        for file in (sorted(path.rglob("*.onnx")) if path.is_dir() else [path])
    ]
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for path in files:
        began = time.monotonic()
        kind, line = explained(path, ["--device", arguments.device, *more], arguments.limit)
        counts[kind] += 1
        if kind == "refused":
            reasons[re.sub(r"\(.*\)|\d+", "...", line.removeprefix("error: "))[:80]] += 1
        name = path.parent.name if path.stem == "model" else path.stem
        print(f"{name} | {kind} | {time.monotonic() - began:.0f} s | {line[:200]}", flush=True)
    print(f"\n{len(files)} files: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    for reason, count in reasons.most_common():
        print(f"  {count} refused: {reason}")


if __name__ == "__main__":
    main()
