"""The text of `predict.py`, which runs a deployed network with numpy and one engine; Python 3.8 and later."""

from hakd.records.errors import HakdError

ONNX = "model.onnx"
MODELS = {
    "onnxruntime": (ONNX,),
    "litert": (ONNX, "model.tflite"),
    "ncnn": (ONNX, "model.ncnn.param", "model.ncnn.bin"),
    "openvino": (ONNX, "model.openvino.onnx"),
}
"""By engine: the files of a network, the engine's own last."""

_TEXT = '''"""Run the network of this folder: python predict.py PHOTO ...

Needs numpy and {package}; Pillow to read photos. `logits(pixels)` takes pixels that were read in another way.
"""

import json
import sys
from pathlib import Path

{import_line}
HERE = Path(__file__).resolve().parent
CARD = json.loads((HERE / "card.json").read_text(encoding="utf-8"))
INPUT = CARD["input"]
MEAN, STD = (np.array(INPUT[key], np.float32)[:, None, None] for key in ("mean", "std"))
{load}

def logits(pixels):
    """Logits of an image: (channels, height, width) as card.json has them, pixels from 0 to 255."""
    x = np.ascontiguousarray((np.asarray(pixels, np.float32) - MEAN) / STD)[None]
{run}

def photo(path):
    """Pixels of a photo as the study prepares them: upright, cropped to its images' shape, resized to the input."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
    image = image.convert("L" if INPUT["channels"] == "grey" else "RGB")
    image = ImageOps.fit(image, INPUT["stored_size"][::-1], Image.BILINEAR)
    size = INPUT["size"][::-1]
    return np.stack([np.asarray(band.convert("F").resize(size, Image.BILINEAR)) for band in image.split()])


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(INPUT["classes"][int(logits(photo(path)).argmax())])
'''

_ONNXRUNTIME = (
    "import numpy as np\nimport onnxruntime\n",
    """\
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = CARD["threads"], 1
session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"])
""",
    """\
    return session.run(None, {"input": x})[0][0]
""",
)
_LITERT = (
    "import numpy as np\nfrom ai_edge_litert.interpreter import Interpreter\n",
    """\
interpreter = Interpreter(model_path=str(HERE / "model.tflite"), num_threads=CARD["threads"])
interpreter.allocate_tensors()
""",
    """\
    images = np.repeat(x.transpose(0, 2, 3, 1), CARD["batch"], 0)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
""",
)
_NCNN = (
    "import ncnn\nimport numpy as np\n",
    """\
net = ncnn.Net()
net.opt.num_threads = CARD["threads"]
for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
    if hasattr(net.opt, "use_" + name):
        setattr(net.opt, "use_" + name, False)
net.load_param(str(HERE / "model.ncnn.param"))
net.load_model(str(HERE / "model.ncnn.bin"))
""",
    """\
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x[0]).clone())
    return np.array(extractor.extract("out0")[1])
""",
)
_OPENVINO = (
    "import numpy as np\nimport openvino\n",
    """\
settings = {"INFERENCE_NUM_THREADS": CARD["threads"], "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
model = openvino.Core().compile_model(str(HERE / "model.openvino.onnx"), "CPU", settings)
""",
    """\
    return model(np.repeat(x, CARD["batch"], 0))[0][0]
""",
)
_PARTS = {"onnxruntime": _ONNXRUNTIME, "litert": _LITERT, "ncnn": _NCNN, "openvino": _OPENVINO}
_PACKAGES = {"litert": "ai-edge-litert"}
_OLD_LITERT = "tflite_runtime"  # all that 32-bit ARM has


def predict_text(engine: str, version: str) -> str:
    """The lines of `predict.py` for an engine.

    Args:
        engine: its name in the configuration.
        version: as the board reports it, which shows which package of LiteRT it has.

    Raises:
        HakdError: an engine that has no lines.
    """
    if engine not in _PARTS:
        raise HakdError(f"no predict.py can be made for {engine!r}", where="engine")
    import_line, load, run = _PARTS[engine]
    package = _PACKAGES.get(engine, engine)
    if version.startswith(_OLD_LITERT):
        import_line = import_line.replace("ai_edge_litert", _OLD_LITERT)
        package = _OLD_LITERT
    text = _TEXT
    for key, value in {"package": package, "import_line": import_line, "load": load, "run": run}.items():
        text = text.replace(f"{{{key}}}", value)
    return text
