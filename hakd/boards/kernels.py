"""Engines with kernels of hakd's own, compiled on the board: `im2col`, `csr` and `bitmap`.

One file for Python 3.8 and later, standard library and numpy; it travels with engines.py and needs a C compiler on the
board. It reads the model file of `hakd.networks.kernel_model`; kernels.c runs its steps. Nothing is written to the
board but a folder in memory, which goes when this process ends.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from hakd.boards.prepared import Prepared

MAGIC = b"HAKDKRN1"
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-march=native")
ALIGNMENT = 64
KINDS = ("conv", "depthwise", "pool", "add", "copy")  # in the order of `enum kind`
FORMATS = ("dense", "csr", "bitmap")
PLAIN = {"format": None, "batch": 1, "buffers": [1, 1], "input": 0, "output": [1, 1], "arrays": []}
EMPTY_STEP = {
    "kind": "add",
    "x": 0,
    "out": 1,
    "low": 0.0,
    "ins": 1,
    "outs": 1,
    "size": [1, 1],
    "made": [1, 1],
}

if "SOURCES" not in globals():  # on the board packing.py has put them here
    SOURCES = {}
    for _name in ("kernels.c", "kernels.cl"):
        with open(os.path.join(os.path.dirname(__file__), _name)) as _stream:
            SOURCES[_name] = _stream.read()


# A model of one rectifier on one number.
_TEXT = json.dumps(dict(PLAIN, steps=[EMPTY_STEP])).encode()
EMPTY = MAGIC + struct.pack("<I", len(_TEXT)) + _TEXT, (1, 1)


class Model:
    """A model file, read: `header` and `arrays`, views of the file."""

    def __init__(self, model):
        import numpy

        start = len(MAGIC) + 4
        if model[: len(MAGIC)] != MAGIC or sys.byteorder != "little":
            raise ValueError("not a model of these kernels")
        size = struct.unpack_from("<I", model, len(MAGIC))[0]
        self.header = json.loads(model[start : start + size])
        at = start + size + -(start + size) % ALIGNMENT
        self.arrays = [
            numpy.frombuffer(model, dtype, count, at + offset)
            for dtype, count, offset in self.header["arrays"]
        ]

    def array(self, step, name):
        """An array of a step; None where it has none."""
        return self.arrays[step[name]] if step.get(name) is not None else None

    def output_shape(self):
        """With the batch first."""
        return (self.header["batch"], *self.header["output"][1:])

    def check(self, x, *formats):
        """Refuse an input of another size, and weights in another format."""
        header = self.header
        if x.shape[0] != header["batch"] or x.size != header["buffers"][header["input"]]:
            raise ValueError(f"an input of shape {x.shape} does not fit the model")
        if header["format"] not in (None, *formats):
            raise ValueError(f"a model with {header['format']} weights, not {' or '.join(formats)}")


def memory_folder(executable=False):
    """A new folder in memory (or where there is none, among temporary files), removed when this process ends.

    Whatever ends it: another process waits for that, in a session of its own, which no signal to this one's group
    reaches. `executable`: libraries in it have to be loaded.
    """
    places = [place for place in ("/dev/shm", tempfile.gettempdir()) if os.access(place, os.W_OK | os.X_OK)]
    if executable:
        places = [place for place in places if not os.statvfs(place).f_flag & os.ST_NOEXEC]
    if not places:
        raise OSError("no folder for temporary files that can be written")
    script = 'd=$(mktemp -d "$1/hakd-XXXXXX") && echo "$d" && cat >/dev/null; rm -rf -- "$d"'
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", places[0]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    _KEEPERS.append(keeper)  # its stdin stays open as long as this process lives
    assert keeper.stdout is not None
    path = keeper.stdout.readline().decode().rstrip("\n")
    if not path:
        raise OSError(f"cannot make a folder in {places[0]}")
    return path


_KEEPERS: list = []


class NoCompiler(Exception):
    """The board has no C compiler, or one that does not compile the kernels."""


def compiler():
    """Path of the board's C compiler, and the first line it prints about its version."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path:
            done = subprocess.run([path, "--version"], capture_output=True, check=False)
            return path, (done.stdout.decode("utf-8", "replace").splitlines() or ["?"])[0]
    raise NoCompiler(f"no C compiler: {', '.join(COMPILERS)} are not on the PATH")


def compiled(threads):
    """The kernels as a library, and what identifies them: source, compiler and flags. Compiled once in a process."""
    flags = (*FLAGS, *(["-fopenmp"] if threads > 1 else []))
    if flags not in _COMPILED:
        path, about = compiler()
        digest = hashlib.sha256("\n".join([SOURCES["kernels.c"], about, *flags]).encode()).hexdigest()[:8]
        number = re.search(r"\d+\.\d+[.\d]*", about)
        name = "clang" if "clang" in about else "gcc"
        version = " ".join([digest, name, number.group() if number else "?", *flags])
        out = os.path.join(memory_folder(), "kernels.so")
        done = subprocess.run(
            [path, "-shared", "-fPIC", "-std=gnu11", *flags, "-x", "c", "-", "-o", out],
            input=SOURCES["kernels.c"].encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, TMPDIR=os.path.dirname(out)),
            check=False,
        )
        if done.returncode:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            first = next((line for line in lines if "error" in line), (lines or ["?"])[-1])
            raise NoCompiler(f"{path} does not compile the kernels: {first}")
        _COMPILED[flags] = opened(out), version
    return _COMPILED[flags]


_COMPILED: dict = {}


def opened(path):
    """A library, opened by way of a file in memory: folders in memory may forbid programs."""
    fd = os.memfd_create("hakd-kernels")
    try:
        with open(path, "rb") as source, open(fd, "wb", closefd=False) as stream:
            shutil.copyfileobj(source, stream)
        library = ctypes.CDLL(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    if library.hakd_op_bytes() != ctypes.sizeof(Op):
        raise NoCompiler("kernels.c and kernels.py differ in `struct op`")
    return library


_PAIR = ctypes.c_int32 * 2


_FIELDS: list = [
    (name, ctypes.c_void_p) for name in ("x", "y", "out", "weight", "bias", "rows", "index", "panel")
]
_FIELDS += [("panel_floats", ctypes.c_int64)]
_FIELDS += [(name, ctypes.c_int32) for name in ("kind", "format", "wide", "batch", "ins", "outs", "groups")]
_FIELDS += [(name, ctypes.c_int32) for name in ("height", "width", "high", "across")]
_FIELDS += [(name, _PAIR) for name in ("kernel", "stride", "padding", "dilation")]
_FIELDS += [("offset", ctypes.c_int32), ("low", ctypes.c_float), ("high_limit", ctypes.c_float)]


class Op(ctypes.Structure):
    """`struct op` of kernels.c."""

    _fields_ = _FIELDS


def pointer(array):
    """Its address; None for None."""
    return None if array is None else array.ctypes.data


def aligned(numpy, count):
    """Zeros that begin at a multiple of 64 bytes."""
    room = numpy.zeros(count + ALIGNMENT // 4, numpy.float32)
    skip = (-room.ctypes.data % ALIGNMENT) // 4
    return room[skip : skip + count]


class Im2col:
    """Convolutions as im2col and a dense product. A call runs all steps in C; input and output stay where they are."""

    empty = EMPTY
    format = "dense"

    def __init__(self, threads):
        self.threads = threads
        self.library, self.version = compiled(threads)

    def prepare(self, model, x):
        import numpy

        model = Model(model)
        model.check(x, self.format)
        header, steps = model.header, model.header["steps"]
        x = numpy.ascontiguousarray(x, numpy.float32)
        buffers = [
            aligned(numpy, size) if at != header["input"] else x for at, size in enumerate(header["buffers"])
        ]
        depths = [step["ins"] // step["groups"] * step["kernel"][0] * step["kernel"][1]
                  for step in steps if step["kind"] == "conv"]  # fmt: skip
        # In front the panel, at the end the columns of one row.
        floats = -(-max(depths, default=0) * (self.library.hakd_widest() + 1) // 16) * 16
        panel = aligned(numpy, floats * self.threads)
        ops = (Op * max(1, len(steps)))()
        for op, step in zip(ops, steps):
            self.fill(op, step, model, buffers)
            op.panel, op.panel_floats = pointer(panel), floats
        shape = model.output_shape()
        result = (
            buffers[header["output"][0]].ravel()[: math.prod(shape)].reshape(shape)
        )  # buffers may be larger
        run, count, threads = self.library.hakd_run, len(steps), self.threads

        def call(kept=(model, buffers, panel)):  # the ops hold no reference to what they point at
            run(ops, count, threads)

        return Prepared(call, result.copy)

    def fill(self, op, step, model, buffers):
        """An op of C from a step of the file."""
        op.kind, op.format, op.batch = (
            KINDS.index(step["kind"]),
            FORMATS.index(self.format),
            model.header["batch"],
        )
        op.x, op.out = pointer(buffers[step["x"]]), pointer(buffers[step["out"]])
        if step.get("y") is not None:
            op.y = pointer(buffers[step["y"]])
        for name in ("weight", "bias", "rows", "index"):
            setattr(op, name, pointer(model.array(step, name)))
        index = model.array(step, "index")
        op.wide = index is not None and index.dtype.itemsize == 4
        op.ins, op.outs, op.groups = step["ins"], step["outs"], step.get("groups", 1)
        (op.height, op.width), (op.high, op.across) = step["size"], step["made"]
        for name in ("kernel", "stride", "dilation"):
            setattr(op, name, _PAIR(*step.get(name, (1, 1))))
        op.padding, op.offset = _PAIR(*step.get("padding", (0, 0))), step.get("offset", 0)
        infinity = float("inf")
        op.low, op.high_limit = step.get("low", -infinity), step.get("high", infinity)


class Csr(Im2col):
    """Convolutions as im2col and a product with compressed sparse rows."""

    format = "csr"


class Bitmap(Im2col):
    """Convolutions as im2col and a product with rows that have a bit for each weight, set where it is not zero."""

    format = "bitmap"


KERNELS = {"im2col": Im2col, "csr": Csr, "bitmap": Bitmap}
