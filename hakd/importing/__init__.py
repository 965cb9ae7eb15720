"""An ONNX model made ready to be taken apart, and which of a network's channels have to stay alike."""
