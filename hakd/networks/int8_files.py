"""What files of networks in int8 say of themselves: architecture, facts of the training, provenance.

An ONNX file holds it as a property. A LiteRT file has a ZIP archive behind its end, as LiteRT's own metadata has:
interpreters do not read that far.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import onnx

from hakd.records.errors import HakdError, make_again

HEADER = "hakd"
_MEMBER = "hakd.json"


def exported_header(path: str | os.PathLike) -> dict[str, Any]:
    """What an ONNX file of an exported or quantised network says of itself.

    Raises:
        HakdError: it says nothing.
    """
    return _header({entry.key: entry.value for entry in onnx.load(path).metadata_props}.get(HEADER), path)


def int8_facts(path: str | os.PathLike) -> dict[str, Any]:
    """Facts of a network in int8: those of its training, with the `val_accuracy` of this file.

    Raises:
        HakdError: the file says nothing of itself.
    """
    facts: dict[str, Any] = int8_header(path)["facts"]
    return facts


def int8_header(path: str | os.PathLike) -> dict[str, Any]:
    """What a file in int8 says of itself, ONNX or LiteRT.

    Raises:
        HakdError: it says nothing.
    """
    if not is_tflite(path):
        return exported_header(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _header(archive.read(_MEMBER), path)
    except (zipfile.BadZipFile, KeyError):
        return _header(None, path)


def is_tflite(path: str | os.PathLike) -> bool:
    """Whether a file is LiteRT's by its name."""
    return os.fspath(path).endswith(".tflite")


def with_header(content: bytes, header: Mapping[str, Any], lite: bool) -> bytes:
    """The content of a file, ONNX or LiteRT, that says this of itself."""
    if not lite:
        model = onnx.load_model_from_string(content)
        onnx.helper.set_model_props(model, {HEADER: json.dumps(header, allow_nan=False)})
        return model.SerializeToString()
    behind = io.BytesIO()
    with zipfile.ZipFile(behind, "w") as archive:  # without compression and dates: the same bytes every time
        archive.writestr(zipfile.ZipInfo(_MEMBER), json.dumps(header, allow_nan=False))
    return content + behind.getvalue()


def _header(text: str | bytes | None, path: str | os.PathLike) -> dict[str, Any]:
    found = json.loads(text or "null")
    if not isinstance(found, dict):
        raise HakdError("does not say which network it holds", where=path, remedy=make_again(path))
    return found
