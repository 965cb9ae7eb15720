"""What an architecture is: a network family with its options, and the widths of its groups."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from hakd.records.errors import HakdError, make_again
from hakd.records.files import digest, read_json, write_json


@dataclass(frozen=True)
class NetworkSpec:
    """A network at full width: its name in the study, family, options, input (channels, size) and classes.

    `input_size` is one number for a square image, else (height, width) in pixels.
    """

    name: str
    family: str
    input_channels: int
    input_size: int | Sequence[int]
    num_classes: int
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.input_size, int):
            height, width = self.input_size
            object.__setattr__(self, "input_size", height if height == width else (height, width))

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        size = self.input_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes it another network: all but its name, which two may share; a description by its hash."""
        content = self.to_dict()
        del content["name"]
        if "ops" in self.options:
            content["options"]["ops"] = digest(self.options["ops"])
        return content

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        size = self.input_size if isinstance(self.input_size, int) else list(self.input_size)
        return {**asdict(self), "input_size": size, "options": dict(self.options)}


@dataclass(frozen=True)
class Architecture:
    """A network specification at given widths (group -> channels)."""

    spec: NetworkSpec
    widths: Mapping[str, int] = field(hash=False)

    @property
    def arch(self) -> str:
        """Short content hash: equal shapes of the same network share it, whoever chose them."""
        return digest({**self.spec.identity, "widths": dict(self.widths)})

    def at(self, widths: Mapping[str, int]) -> "Architecture":
        """The same network with these widths; groups that are not among them keep theirs."""
        return Architecture(self.spec, {**self.widths, **widths})

    def to_dict(self) -> dict[str, Any]:
        """As JSON and checkpoints hold it."""
        return {"arch": self.arch, "network": self.spec.to_dict(), "widths": dict(self.widths)}


def architecture_from(content: Mapping[str, Any], where: object) -> Architecture:
    """Rebuild an architecture from `Architecture.to_dict`.

    Raises:
        HakdError: a missing key, or widths that do not match the recorded hash.
    """
    try:
        found = Architecture(NetworkSpec(**content["network"]), dict(content["widths"]))
    except (KeyError, TypeError) as error:
        raise HakdError(
            f"not an architecture file ({error})", where=where, remedy=make_again(where)
        ) from None
    if content.get("arch") != found.arch:
        raise HakdError(
            f"widths hash to {found.arch}, the file says {content.get('arch')}",
            where=where,
            key="arch",
            remedy=make_again(where),
        )
    return found


def write_architecture(path: str | os.PathLike, architecture: Architecture) -> None:
    """Write `results/architectures/{arch}.json` once: it is content-addressed. A damaged one is written again."""
    try:
        read_architecture(path)
    except HakdError:
        write_json(path, "architecture", architecture.to_dict())


def read_architecture(path: str | os.PathLike) -> Architecture:
    """Read what `write_architecture` wrote."""
    return architecture_from(read_json(path, "architecture"), path)
