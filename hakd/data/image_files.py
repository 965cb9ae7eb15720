"""Image files as arrays of one size and three channels."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from hakd.data.folders import Tally
from hakd.records.errors import HakdError

# Formats that Pillow recognises and cannot decode by itself.
UNDECODED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}

# By the EXIF tag `Orientation`: what turns an image upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_suffixes() -> set[str]:
    """How names of files end that Pillow can read, in small letters, with the dot."""
    known = Image.registered_extensions().items()
    return {suffix for suffix, form in known if form in Image.OPEN and form not in UNDECODED}


def read_images(paths: Sequence[Path], size: int, notes: Tally) -> np.ndarray:
    """Read images: turned as the camera noted, shorter side resized to `size`, centre cropped.

    Args:
        paths: of the files.
        size: height and width of the result.
        notes: gets the files that were read in part only.

    Returns:
        uint8 (N, 3, size, size).

    Raises:
        HakdError: a file that cannot be read, named.
    """
    images = np.empty((len(paths), 3, size, size), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; the pixels are read or refused
        for i, path in enumerate(paths):
            try:
                with Image.open(path) as image:
                    upright = _turned(image, path, notes)
                    fitted = ImageOps.fit(_rgb(upright), (size, size), Image.Resampling.BILINEAR)
                    # Phones write JPEGs that hold a preview as a second image (MPO): nothing is lost of these.
                    if getattr(image, "is_animated", False) and image.format != "MPO":
                        notes.add("files of several frames or pages, the first is used", path)
            except Exception as error:  # of damaged files, Pillow's decoders raise errors of all kinds
                raise HakdError(
                    f"image cannot be read ({error})",
                    where=path,
                    remedy="Repair it or remove it from the folder",
                ) from None
            images[i] = np.asarray(fitted).transpose(2, 0, 1)
    return images


def _turned(image: Image.Image, path: Path, notes: Tally) -> Image.Image:
    """The image upright. Pillow's `exif_transpose` also writes EXIF again, which other damaged tags stop."""
    image.load()
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises errors of all kinds
        notes.add("damaged EXIF, not turned", path)
        return image
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Three channels of 8 bits; grey is repeated, 16-bit grey scaled (Pillow's own conversion would clip it)."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no standard range")
    return image.convert("RGB")
