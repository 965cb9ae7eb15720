"""A user's own ONNX model: which of its widths lose time on a device, and which widths beside them do not."""
