"""The papers' study, one epoch a job, on small files of CIFAR-10's format: does every job of it run?

    python -m benchmarks.paper_once FOLDER

The files hold scikit-learn's digits as colour images of 32 x 32 pixels. torchvision gets their checksums; the rest of
it is its real code. The device is a virtual one: nothing is timed. Accuracies mean nothing.
"""

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

EACH = 40  # images in a file; the real ones have 10,000
FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
SETTINGS = [
    "run={devices: [model], seeds: [0]}",
    "devices={model: {transport: virtual, cost_model: {tile_out: 8}}}",
    "teacher={epochs: 1}",
    "prune={steps: 1, channels: 256, batch_size: 16}",
    "students={epochs: 1}",
    "deep_compression={recipe: {batch_size: 16}, compression: {rounds: 1, epochs: 1, sharing_epochs: 1}}",
    "store=results/measurements",
]


def write_files(root: Path) -> dict[str, str]:
    """Files of CIFAR-10's format; their checksums by name."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    grey = (digits.images * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    pixels = np.stack([grey] * 3, axis=1).reshape(len(grey), -1)
    contents = {"batches.meta": {"label_names": [str(digit) for digit in range(10)], "num_vis": 3072}}
    for index, name in enumerate(FILES):
        part = slice(index * EACH, (index + 1) * EACH)
        contents[name] = {"data": pixels[part], "labels": digits.target[part].tolist(), "batch_label": name}
    md5 = {}
    for name, content in contents.items():
        data = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(data)
        md5[name] = hashlib.md5(data).hexdigest()
    return md5


def write_checksums(folder: Path, md5: dict[str, str]) -> None:
    """A `sitecustomize` that every Python of the study reads: torchvision with these checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [[name, md5[name]] for name in FILES[:-1]]
    (folder / "sitecustomize.py").write_text(
        f"""\
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder


class Checksums(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision.datasets.cifar":
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def with_checksums(module):
            execute(module)
            module.CIFAR10.train_list = {train!r}
            module.CIFAR10.test_list = [["test_batch", {md5["test_batch"]!r}]]
            module.CIFAR10.meta = {{**module.CIFAR10.meta, "md5": {md5["batches.meta"]!r}}}

        spec.loader.exec_module = with_checksums
        return spec


sys.meta_path.insert(0, Checksums())
"""
    )


def main() -> None:
    """Write the files, then run the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    write_checksums(folder / "site", write_files(folder / "cifar"))
    settings = [*SETTINGS, f"data={{name: cifar10, root: '{folder / 'cifar'}', download: false}}"]
    path = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        str(folder),
        "--configfile",
        "config/paper.yaml",
    ]
    command += ["--cores", str(arguments.cores), "--config", *settings]
    sys.exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode)


if __name__ == "__main__":
    main()
