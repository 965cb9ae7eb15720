"""Engines on any OpenCL device: `opencl` (a direct kernel of hakd's own) and `opencl-gemm` (im2col and CLBlast).

One file for Python 3.8 and later, standard library, numpy and pyopencl; it travels with engines.py. It reads the model
file of `hakd.networks.kernel_model`, with dense weights. A call enqueues all steps and waits for the last.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os

from hakd.boards.kernels import EMPTY, SOURCES, Model, memory_folder
from hakd.boards.prepared import Prepared

CLBLAST = "libclblast.so.1"
_ROW_MAJOR, _AS_IT_IS = 101, 111  # CLBlast's numbers of a layout, and of a matrix that is not transposed
GROUP = (
    8  # pixels and channels of a work group; one size for all, since PoCL compiles a kernel again for each
)
_OPENCL: dict = {}


def start(threads):
    """pyopencl, a context on the first GPU (else the first device), and the program; made once in a process.

    Raises:
        RuntimeError: there is no device.
    """
    if "context" not in _OPENCL:
        # For PoCL, which runs OpenCL on the CPU: its threads, and no files outside a folder that goes with the process.
        for name in ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"):
            os.environ[name] = str(threads)
        os.environ["POCL_CACHE_DIR"] = memory_folder(executable=True)
        os.environ["PYOPENCL_NO_CACHE"] = "1"
        cl = importlib.import_module("pyopencl")
        try:
            found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
        except cl.Error:
            found = []
        if not found:
            raise RuntimeError(
                "no OpenCL device: install its driver (on Debian, for the CPU: pocl-opencl-icd)"
            )
        found.sort(key=lambda device: not device.type & cl.device_type.GPU)
        context = cl.Context(found[:1])
        _OPENCL.update(cl=cl, context=context, program=cl.Program(context, SOURCES["kernels.cl"]).build())
    return _OPENCL["cl"], _OPENCL["context"], _OPENCL["program"]


def described(cl, device, more=""):
    """Version of an engine: a digest of kernels and driver, whether the device is a CPU or a GPU, and its name."""
    facts = [
        device.platform.name,
        device.platform.version,
        device.version,
        device.driver_version,
        device.name,
    ]
    digest = hashlib.sha256("\n".join([SOURCES["kernels.cl"], *facts, more]).encode()).hexdigest()[:8]
    kind = (
        "GPU" if device.type & cl.device_type.GPU else "CPU" if device.type & cl.device_type.CPU else "device"
    )
    if device.platform.name.startswith("Portable Computing Language"):
        kind += " (PoCL)"
    words = [digest, kind, device.driver_version, device.name]
    return " ".join(" ".join(words).split())[:64].strip()


class OpenCl:
    """A direct kernel for every convolution."""

    empty = EMPTY

    def __init__(self, threads):
        self.cl, self.context, self.program = start(threads)
        self.queue = self.cl.CommandQueue(self.context)
        self.version = described(self.cl, self.context.devices[0])

    def prepare(self, model, x):
        import numpy

        model = Model(model)
        model.check(x, "dense")
        cl, flags, header = self.cl, self.cl.mem_flags, model.header
        buffers = [cl.Buffer(self.context, flags.READ_WRITE, 4 * size) for size in header["buffers"]]
        cl.enqueue_copy(self.queue, buffers[header["input"]], numpy.ascontiguousarray(x, numpy.float32))
        calls, number = [], numpy.int32
        for step in header["steps"]:
            calls += self.launches(_Step(self, model, step, buffers, number, numpy.float32))
        queue = self.queue

        def call():
            for launch in calls:
                launch()
            queue.finish()

        def output():
            found = numpy.empty(model.output_shape(), numpy.float32)
            cl.enqueue_copy(queue, found, buffers[header["output"][0]])
            return found

        return Prepared(call, output)

    def launches(self, step):
        """Functions that enqueue the work of a step, one after the other."""
        if step["kind"] in ("conv", "depthwise"):
            return [step.conv()]
        return [step.pool() if step["kind"] == "pool" else step.add()]


class _Step:
    """A step of the file with its buffers on the device."""

    def __init__(self, engine, model, step, buffers, number, real):
        self.engine, self.step, self.buffers, self.number, self.real = engine, step, buffers, number, real
        self.batch, infinity = model.header["batch"], float("inf")
        self.x, self.out = buffers[step["x"]], buffers[step["out"]]
        self.limits = [real(step.get("low", -infinity)), real(step.get("high", infinity))]
        self.weight, self.bias = (self.on_device(model.array(step, name)) for name in ("weight", "bias"))
        self.pixels = step["made"][0] * step["made"][1]

    def __getitem__(self, name):
        return self.step[name]

    def on_device(self, array):
        cl = self.engine.cl
        if array is None or not array.size:
            return None
        flags = cl.mem_flags
        return cl.Buffer(self.engine.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=array)

    def numbers(self, *names):
        """Whole numbers of the step, pairs one after the other."""
        defaults = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
        found = []
        for name in names:
            value = self.step.get(name, defaults.get(name))
            found += value if isinstance(value, list) else [value]
        return [self.number(value) for value in found]

    def window(self):
        return self.numbers("size", "made", "kernel", "stride", "padding", "dilation")

    def launch(self, name, channels, images, *arguments):
        """A function that enqueues a kernel over (pixels, channels, images)."""
        engine = self.engine
        kernel = engine.cl.Kernel(engine.program, name)
        kernel.set_args(*arguments)
        size = (*(-(-count // GROUP) * GROUP for count in (self.pixels, channels)), images)
        group, enqueue, queue = (GROUP, GROUP, 1), engine.cl.enqueue_nd_range_kernel, engine.queue

        def launch(kept=arguments):  # a kernel holds no reference to its arguments
            enqueue(queue, kernel, size, group)

        return launch

    def conv(self):
        number = self.number
        # The filters on single channels have as many groups as channels.
        shape = [number(self["ins"]), number(self["outs"]), number(self.step.get("groups", self["ins"]))]
        given = [
            self.x,
            self.weight,
            self.bias or self.weight,
            self.out,
            number(self.bias is not None),
            *shape,
        ]
        return self.launch("conv", self["outs"], self.batch, *given, *self.window(), *self.limits)

    def pool(self):
        given = [self.x, self.weight or self.x, self.out, self.number(self.weight is not None)]
        given += self.numbers("ins")
        return self.launch("pool", self["ins"], self.batch, *given, *self.window(), *self.limits)

    def add(self):
        both = self.step.get("y") is not None
        given = [self.x, self.buffers[self["y"]] if both else self.x, self.out, self.number(both)]
        given += [
            *self.numbers("ins", "outs"),
            self.number(self.step.get("offset", 0)),
            self.number(self.pixels),
        ]
        return self.launch("add", self["ins"], self.batch, *given, *self.limits)

    def columns(self, first, channels, out):
        given = [self.x, out, self.number(first), self.number(channels), *self.window()]
        return self.launch("columns", channels, 1, *given)

    def finish(self):
        number = self.number
        given = [self.out, self.bias or self.out, number(self.bias is not None), *self.numbers("outs")]
        return self.launch("finish", self["outs"], self.batch, *given, number(self.pixels), *self.limits)


class OpenClGemm(OpenCl):
    """im2col and CLBlast's matrix product for convolutions; filters on single channels use the direct kernel."""

    def __init__(self, threads):
        super().__init__(threads)
        try:
            self.clblast = ctypes.CDLL(CLBLAST)
        except OSError:
            raise RuntimeError(f"no {CLBLAST}: install CLBlast (on Debian: libclblast1)") from None
        path = os.path.realpath(_path_of(CLBLAST))
        self.version = described(self.cl, self.context.devices[0], os.path.basename(path))

    def launches(self, step):
        if step["kind"] != "conv":
            return super().launches(step)
        cl, groups = self.cl, step["groups"]
        channels, rows, pixels = step["ins"] // groups, step["outs"] // groups, step.pixels
        depth = channels * step["kernel"][0] * step["kernel"][1]
        plain = step["kernel"] == step["stride"] == [1, 1] and step["padding"] == [0, 0]
        room = step.x if plain else cl.Buffer(self.context, cl.mem_flags.READ_WRITE, 4 * depth * pixels)
        calls = []
        for image in range(step.batch):
            for group in range(groups):
                first = image * step["ins"] + group * channels
                if not plain:
                    calls.append(step.columns(first, channels, room))
                at, to = first * pixels if plain else 0, (image * step["outs"] + group * rows) * pixels
                calls.append(self.gemm(step, rows, pixels, depth, group * rows * depth, room, at, to))
        return [*calls, step.finish()]

    def gemm(self, step, rows, pixels, depth, weight_at, room, at, to):
        """A function that enqueues out = weight times columns, row-major; offsets count floats."""
        run, size, memory = self.clblast.CLBlastSgemm, ctypes.c_size_t, ctypes.c_void_p
        queue = memory(self.queue.int_ptr)
        given: list = [ctypes.c_int(_ROW_MAJOR), ctypes.c_int(_AS_IT_IS), ctypes.c_int(_AS_IT_IS)]
        given += [size(rows), size(pixels), size(depth), ctypes.c_float(1.0)]
        given += [memory(step.weight.int_ptr), size(weight_at), size(depth)]
        given += [memory(room.int_ptr), size(at), size(pixels), ctypes.c_float(0.0)]
        given += [memory(step.out.int_ptr), size(to), size(pixels), ctypes.byref(queue), None]

        def launch(kept=(queue, room, step)):  # the arguments hold no reference to them
            status = run(*given)
            if status:
                raise ValueError(f"CLBlast stops with {status}")

        return launch


def _path_of(library):
    """Where a library was loaded from."""
    with open("/proc/self/maps") as stream:
        for line in stream:
            if f"/{library}" in line or "/libclblast.so" in line:
                return line.split()[-1]
    return library


OPENCL = {"opencl": OpenCl, "opencl-gemm": OpenClGemm}
