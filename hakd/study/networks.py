"""Networks by the names that a configuration gives them."""

from collections.abc import Mapping
from typing import Any

from hakd.data.settings import IMAGES
from hakd.networks.families import FAMILIES, network_spec
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean
from hakd.study.files import Configuration
from hakd.study.schema import check_entry

OTHER_IMAGES = (3, 10)  # channels and classes where the data set's files decide them


def network_of(
    config: Configuration, name: str, channels: int | None = None, classes: int | None = None
) -> NetworkSpec:
    """The network by its name in the configuration, or a family with its default options.

    Args:
        config: of the study.
        name: in `networks`, or a family's.
        channels, classes: of the images; None: as the configuration's data set has them.

    Raises:
        HakdError: neither, or settings that do not fit.
    """
    registry, settings = config.registry("networks"), {}
    if name in registry:
        settings = check_entry("networks", name, registry[name], config, "networks.")
    elif name not in FAMILIES:
        remedy = did_you_mean(name, [*registry, *FAMILIES])
        raise HakdError(f"unknown network {name!r}", where=config.where, key="networks", remedy=remedy)
    data = config.content.get("data")
    images = IMAGES.get(str(data.get("name") if isinstance(data, Mapping) else None), OTHER_IMAGES)
    try:
        return network_spec(name, settings, channels or images[0], classes or images[1], config.where)
    except HakdError as error:
        raise config.blamed(error) from None


def spec_of(study: Mapping[str, Any], network: str) -> NetworkSpec:
    """A network of a checked study, with the images of its data set where they are known."""
    channels, classes = IMAGES.get(study["data"]["name"], OTHER_IMAGES)
    return network_spec(network, study["networks"][network], channels, classes)
