"""The engines that a worker can time, behind one small interface.

One file for Python 3.8 and later, standard library, numpy and the engine; of hakd it imports only what travels with it
and worker.py (packing.worker_source). `load(name, threads)` gives an engine: its `version`, an `empty` model with the
shape of its input, and `prepare(model, x)`, which takes a model as hakd's builders write it and an input of float32
NCHW and gives a `Prepared`. A model whose input is quantised gets it quantised before any call. docs/engines.md says
what a timed call of each engine includes.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import importlib
import json
import os
import struct

from hakd.boards.kernels import KERNELS
from hakd.boards.opencl import OPENCL
from hakd.boards.prepared import Prepared

# Models of one op on one float: what an engine needs before it has anything to do.
EMPTY_ONNX = base64.b64decode(
    "CAg6SQoZCgVpbnB1dBIGb3V0cHV0IghJZGVudGl0eRIBZVoTCgVpbnB1dBIKCggIARIECgIIAWIU"
    "CgZvdXRwdXQSCgoICAESBAoCCAFCBAoAEA0="
)
EMPTY_TFLITE = base64.b64decode(
    "CAAAAFRGTDOu////GAEAABAAAAA8AAAAFAAAAAMAAAAEAAAAaGFrZAAAAAABAAAAEAAAAAwAEAAPAAAACAAEAAwAAAATAAAAAQAA"
    "AAAAABMBAAAAFAAAAAAADgAYABQAEAAMAAgABAAOAAAAFAAAACwAAAAYAAAAHAAAAFAAAAAEAAAAbWFpbgAAAAABAAAAAQAAAAEA"
    "AAAAAAAAAQAAABAAAAAAAAoADAAAAAgABAAKAAAACAAAAAwAAAABAAAAAQAAAAEAAAAAAAAAAgAAADQAAAAEAAAA4P///wgAAAAQ"
    "AAAABgAAAG91dHB1dAAAAQAAAAEAAAAMAAwACAAAAAAABAAMAAAACAAAABAAAAAFAAAAaW5wdXQAAAABAAAAAQAAAAEAAAAIAAAA"
    "BAAEAAQAAAA="
)
EMPTY_NCNN = b"7767517\n2 2\nInput input 0 1 in0\nReLU relu 1 1 in0 out0\n"


INT8_DOORS = "hakd_int8"  # property of an ONNX model: scale and zero of its quantised input and output


def quantised(x, kind, scale, zero):
    """An input in eight bits."""
    import numpy

    limits = numpy.iinfo(kind)
    return numpy.clip(numpy.round(x / scale) + zero, limits.min, limits.max).astype(kind)


def dequantised(y, scale, zero):
    """An output of eight bits as float32."""
    return ((y.astype("f4") - zero) * scale).astype("f4")


def only(found, what):
    """The one input or output of a model."""
    if len(found) != 1:
        raise ValueError(f"a model needs one input and one output, this has {len(found)} {what}")
    return found[0]


class OnnxRuntime:
    """ONNX Runtime on the CPU; models are ONNX. Input and output are bound once: a call copies neither."""

    empty = EMPTY_ONNX, (1,)
    provider, place = "CPUExecutionProvider", ("cpu", 0)
    options: tuple = ()  # of the provider

    def __init__(self, threads):
        self.ort, self.threads = importlib.import_module("onnxruntime"), threads
        self.version = self.ort.__version__

    def prepare(self, model, x):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that sleep between two ops wake too late for ops of microseconds: two would be slower than one.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.threads > 1)))
        session = self.ort.InferenceSession(model, options, providers=[(self.provider, dict(self.options))])
        if session.get_providers()[0] != self.provider:  # it would run on the CPU instead
            raise ValueError(f"onnxruntime cannot start its {self.provider}")
        source = only(session.get_inputs(), "inputs")
        doors = json.loads(session.get_modelmeta().custom_metadata_map.get(INT8_DOORS, "null"))
        if doors:
            x = quantised(x, "uint8", *doors[0])
        put = self.ort.OrtValue.ortvalue_from_numpy(x, *self.place)
        binding = session.io_binding()
        binding.bind_ortvalue_input(source.name, put)
        made = []
        for target, first in zip(session.get_outputs(), session.run(None, {source.name: x})):
            made.append(self.ort.OrtValue.ortvalue_from_shape_and_type(first.shape, first.dtype, *self.place))
            binding.bind_ortvalue_output(target.name, made[-1])

        def call(kept=(put, made)):  # the binding holds no reference to its values
            session.run_with_iobinding(binding)

        def output():
            y = made[0].numpy().copy()
            return dequantised(y, *doors[1]) if doors else y

        return Prepared(call, output)

    def ops(self, model):
        """How many nodes of each kind the graph has that the session runs, `domain:kind` for others than ONNX's own."""
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        fd = os.memfd_create("hakd-graph")
        try:
            options.optimized_model_filepath = f"/proc/self/fd/{fd}"
            self.ort.InferenceSession(model, options, providers=[(self.provider, dict(self.options))])
            with open(fd, "rb", closefd=False) as stream:
                stream.seek(0)
                content = memoryview(stream.read())
        finally:
            os.close(fd)
        return kinds_of(content)


class OnnxRuntimeCuda(OnnxRuntime):
    """ONNX Runtime on an NVIDIA GPU, without TF32, which would round the factors of products to 10 bits.

    Input and outputs stay on the GPU; a call ends when the GPU has done its work.
    """

    provider, place = "CUDAExecutionProvider", ("cuda", 0)
    options = (("use_tf32", "0"),)

    def __init__(self, threads):
        super().__init__(threads)
        known = self.ort.get_available_providers()
        if self.provider not in known:
            raise RuntimeError(f"this onnxruntime has no {self.provider}, only {', '.join(known)}")
        models = []
        for path in sorted(glob.glob("/proc/driver/nvidia/gpus/*/information")):
            with open(path) as stream:
                models += [line.split(":", 1)[1].strip() for line in stream if line.startswith("Model:")]
        self.version = " ".join([self.version, "no TF32,", *(models[:1] or ["GPU"])])[:64]


class LiteRT:
    """LiteRT, once TensorFlow Lite, with XNNPACK; models are flatbuffers, NHWC. A call is `invoke` alone."""

    empty = EMPTY_TFLITE, (1,)

    def __init__(self, threads):
        self.threads = threads
        try:
            package = importlib.import_module("ai_edge_litert")
            self.interpreter = importlib.import_module("ai_edge_litert.interpreter")
            self.version = package.__version__
        except ImportError as problem:
            try:  # all that 32-bit ARM has
                package = importlib.import_module("tflite_runtime")
                self.interpreter = importlib.import_module("tflite_runtime.interpreter")
                self.version = f"tflite_runtime {package.__version__}"
            except ImportError:
                raise problem from None

    def prepare(self, model, x):
        interpreter = self.interpreter.Interpreter(model_content=model, num_threads=self.threads)
        interpreter.allocate_tensors()
        source = only(interpreter.get_input_details(), "inputs")
        target = only(interpreter.get_output_details(), "outputs")
        scale, _ = source["quantization"]
        if scale:
            x = quantised(x, "int8", *source["quantization"])
        interpreter.set_tensor(source["index"], x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

        def output():
            y = interpreter.get_tensor(target["index"])
            if target["quantization"][0]:
                y = dequantised(y, *target["quantization"])
            return y.transpose(0, 3, 1, 2) if y.ndim == 4 else y

        return Prepared(interpreter.invoke, output)


class Ncnn:
    """ncnn on the CPU in float32; models are its text and weights in one blob.

    A call makes an extractor, which is how ncnn is used: it allocates the activations and unpacks the output.
    """

    empty = struct.pack("<I", len(EMPTY_NCNN)) + EMPTY_NCNN, (1, 1)
    # float16 is the default where a CPU has it; these models are float32
    switched_off = (
        "vulkan_compute",
        "fp16_packed",
        "fp16_storage",
        "fp16_arithmetic",
        "bf16_packed",
        "bf16_storage",
    )

    def __init__(self, threads):
        self.ncnn, self.threads = importlib.import_module("ncnn"), threads
        self.version = self.ncnn.__version__

    def prepare(self, model, x):
        import numpy

        net = self.ncnn.Net()
        net.opt.num_threads = self.threads  # takes precedence over OMP_NUM_THREADS
        for name in self.switched_off:
            if hasattr(net.opt, "use_" + name):
                setattr(net.opt, "use_" + name, False)
        size = struct.unpack_from("<I", model)[0]
        with in_memory(model[4 : 4 + size]) as text, in_memory(model[4 + size :]) as weights:
            if net.load_param(text) or net.load_model(weights):
                raise ValueError("ncnn cannot read the model")
        put = self.ncnn.Mat(x[0]).clone()
        made = [None]

        def call():
            extractor = net.create_extractor()
            extractor.input("in0", put)
            status, made[0] = extractor.extract("out0")
            if status:
                raise ValueError(f"ncnn stops with {status}")

        return Prepared(call, lambda: numpy.array(made[0])[None])


class OpenVino:
    """OpenVINO on the CPU in float32; models are ONNX. One stream, the input shared; a call is `infer`."""

    empty = EMPTY_ONNX, (1,)

    def __init__(self, threads):
        self.openvino = importlib.import_module("openvino")
        self.version, self.core = self.openvino.__version__, self.openvino.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the process is pinned
            "INFERENCE_PRECISION_HINT": "f32",  # or it takes bfloat16 or float16 where the CPU has it
        }

    def prepare(self, model, x):
        compiled = self.core.compile_model(self.core.read_model(model), "CPU", self.settings)
        only(compiled.inputs, "inputs")
        request = compiled.create_infer_request()
        request.set_input_tensor(self.openvino.Tensor(x, shared_memory=True))

        def call(kept=x):  # the tensor holds no reference to it
            request.infer(share_outputs=True)

        return Prepared(call, lambda: request.get_output_tensor(0).data.copy())


def fields(content):
    """The fields of a protobuf message: (number, value), a number or the bytes of its content."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(content):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
        else:
            size = varint() if kind == 2 else 8 if kind == 1 else 4
            yield tag >> 3, content[at : at + size]
            at += size


def kinds_of(model):
    """How many nodes of each kind an ONNX file has.

    Fields: of a model 7, its graph; of that 1, a node; of that 4 and 7, its op and the op's domain.
    """
    found: dict = {}
    for number, graph in fields(model):
        for inner, node in fields(graph) if number == 7 else ():
            if inner == 1:
                about = {key: bytes(value).decode() for key, value in fields(node) if key in (4, 7)}
                kind = ":".join(filter(None, (about.get(7), about.get(4, "?"))))
                found[kind] = found.get(kind, 0) + 1
    return found


ENGINES = {
    "onnxruntime": OnnxRuntime,
    "onnxruntime-cuda": OnnxRuntimeCuda,
    "litert": LiteRT,
    "ncnn": Ncnn,
    "openvino": OpenVino,
    **KERNELS,
    **OPENCL,
}


def load(name, threads):
    """The engine of that name, imported now.

    Raises whatever its import raises.
    """
    return ENGINES[name](threads)


@contextlib.contextmanager
def in_memory(content):
    """A path to a file in memory: nothing is written to the board."""
    fd = os.memfd_create("hakd-model")
    try:
        with open(fd, "wb", closefd=False) as stream:
            stream.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
