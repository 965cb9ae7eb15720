"""Networks by the names that a configuration gives them, or by a function of the user's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hakd.data.settings import IMAGES, SIZES
from hakd.networks.families import FAMILIES
from hakd.networks.imported import Images
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean
from hakd.study.doors import folders_of, known_spec
from hakd.study.files import Configuration
from hakd.study.schema import check_entry

OTHER_CHANNELS, OTHER_CLASSES = 3, 10  # where the data set's files decide them
OTHER_SIZE = 224  # pixels along a side, likewise
_KNOWN: dict[tuple[str, str, Images], NetworkSpec] = {}  # what was imported


def network_of(
    config: Configuration,
    name: str,
    channels: int | None = None,
    classes: int | None = None,
    image: Sequence[int] | None = None,
) -> NetworkSpec:
    """The network by its name in the configuration, a family with its default options, or a function's.

    Args:
        config: of the study.
        name: in `networks`, a family's, or `package.module:function`.
        channels, classes: of the images; None: as the configuration's data set has them.
        image: channels, height and width for a function; None: three channels of 224 pixels along each side.

    Raises:
        HakdError: none of them, settings that do not fit, or a network that cannot be imported.
    """
    registry, settings = config.registry("networks"), {}
    folders = folders_of(path for path, _ in config.layers)
    if ":" in name:
        shape = image or (OTHER_CHANNELS, OTHER_SIZE, OTHER_SIZE)
        return _imported(name, {"module": name}, Images(shape[0], tuple(shape[1:]), None), folders)
    if name in registry:
        settings = check_entry("networks", name, registry[name], config, "networks.")
    elif name not in FAMILIES:
        remedy = did_you_mean(name, [*registry, *FAMILIES])
        raise HakdError(f"unknown network {name!r}", where=config.where, key="networks", remedy=remedy)
    data = config.content.get("data")
    images = _images(data if isinstance(data, Mapping) else {})
    images = replace(images, channels=channels or images.channels, classes=classes or images.classes)
    try:
        return _spec(name, settings, images, folders)
    except HakdError as error:
        raise (config.blamed(error) if error.key else error) from None


def import_networks(config: Configuration, study: Mapping[str, Any]) -> None:
    """Import what a study imports, so that `spec_of` knows it, from where its configuration is too.

    Raises:
        HakdError: a network that cannot be imported.
    """
    folders = folders_of(path for path, _ in config.layers)
    for network in study["run"]["networks"]:
        try:
            spec_of(study, network, folders)
        except HakdError as error:
            raise (config.blamed(error) if error.key else error) from None


def spec_of(study: Mapping[str, Any], network: str, folders: Sequence[str] = ()) -> NetworkSpec:
    """A network of a checked study, with the images of its data set where they are known.

    Args:
        study: as `checked_study` gives it.
        network: one of its `networks`.
        folders: where modules and files are looked for; those of a network that was imported before do not matter.

    Raises:
        HakdError: a network that cannot be imported.
    """
    return _spec(network, study["networks"][network], _images(study["data"]), folders)


def _images(data: Mapping[str, Any]) -> Images:
    """A data set's images, as far as they are known without its files."""
    name = str(data.get("name"))
    side = data.get("size", SIZES.get(name, OTHER_SIZE))
    channels, classes = IMAGES.get(name, (OTHER_CHANNELS, None))
    return Images(channels, (side, side), classes)


def _spec(name: str, settings: Mapping[str, Any], images: Images, folders: Sequence[str]) -> NetworkSpec:
    """Of a network of unknown classes a family has some, and one that is imported its own."""
    spec = known_spec(name, settings, images.channels, images.classes or OTHER_CLASSES, "config")
    return spec or _imported(name, settings, images, folders)


def _imported(name: str, settings: Mapping[str, Any], images: Images, folders: Sequence[str]) -> NetworkSpec:
    """Once in a process."""
    from hakd.networks.doors import import_network

    key = (name, json.dumps(settings), images)
    if key not in _KNOWN:
        _KNOWN[key] = import_network(name, settings, images, folders).spec
    return _KNOWN[key]
