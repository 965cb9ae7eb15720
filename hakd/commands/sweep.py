"""`hakd sweep`: a latency table without the rest of a study."""

import argparse
import logging
from typing import TYPE_CHECKING

from hakd.commands.common import (
    FINE,
    Commands,
    command,
    find_entry,
    fraction,
    from_,
    measuring_options,
    respelling,
    sizes,
)
from hakd.records.errors import HakdError

if TYPE_CHECKING:
    from hakd.latency_tables.build import TableRequest

CHANNELS = 1024  # of an image: hyperspectral ones have several hundred


def add(commands: Commands) -> None:
    """The options."""
    parser = command(
        commands,
        "sweep",
        "build a latency table of a network on a device, without training or data",
        "Build a latency table of a network on a device: for each width group, latency over its width. Nothing is\n"
        "trained and no data set is read. Every burst is kept in the store: after a kill, the same command\n"
        "continues, and a study that shares the store measures nothing again.\n\n"
        "examples:\n"
        "  hakd sweep local mobilenet --mode map --out mobilenet.parquet\n"
        "  hakd sweep pi4.yaml densenet --mode map --groups block1.layer1 block2.layer1 --out pi4.csv\n"
        "  hakd sweep pi4 mobilenet --mode targets --level 0.5 0.25 --out pi4.parquet\n"
        "  hakd sweep pi5 mobilenet --prior pi4.parquet pi3.parquet --out pi5.parquet\n"
        "  hakd sweep pi4 torchvision.models:resnet18 --input 3,224,224 --out resnet18.parquet",
    )
    parser.add_argument("device", metavar="DEVICE", help="where to time")
    parser.add_argument(
        "network",
        metavar="NETWORK",
        help="a name of the configuration's `networks`, a family with defaults, or package.module:function, "
        "your function that returns a torch.nn.Module",
    )
    parser.add_argument("--out", required=True, metavar="TABLE", help="where to write it: .parquet or .csv")
    _network_options(parser)
    _plan_options(parser)
    measuring_options(parser)
    parser.set_defaults(run=_run)


def _plan_options(parser: argparse.ArgumentParser) -> None:
    """Which points of a curve are timed, and what is known about them in advance."""
    parser.add_argument(
        "--mode",
        choices=("map", "targets", "exhaustive"),
        default="map",
        help="map: the whole curve, coarse first, then refined where neighbours differ (the default); "
        "targets: what choosing a width near the network's own needs, as in a study; "
        "exhaustive: every width, which the other two are checked against",
    )
    parser.add_argument(
        "--prior",
        nargs="+",
        default=[],
        metavar="TABLE",
        help="latency tables of other devices: what they have in common orders the points, so that fewer are enough "
        "on a similar device (docs/transfer.md; needs the optional extra `transfer`)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="measure everything again; what the store has of it does not count any more. Without it the same command "
        "takes further looks at undecided curves",
    )


def _network_options(parser: argparse.ArgumentParser) -> None:
    """Which curves: the widths that they start from, the groups, and the network's images."""
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--level",
        nargs="+",
        type=fraction,
        default=[1.0],
        metavar="X",
        help="fraction of the full network's MACs that all widths are scaled to by one factor "
        "(default: 1, the full network)",
    )
    start.add_argument(
        "--widths",
        nargs="+",
        default=[],
        metavar="FILE",
        help="start from widths that a study chose: results/{network}/widths/{level}.json",
    )
    parser.add_argument("--groups", nargs="+", default=[], metavar="GROUP", help="these width groups only")
    parser.add_argument(
        "--channels",
        type=from_(1, CHANNELS),
        metavar="N",
        help=f"channels of an image, up to {CHANNELS} (default: the data set's, or 3)",
    )
    parser.add_argument(
        "--classes", type=from_(2), metavar="N", help="number of classes (default: the data set's, or 10)"
    )
    parser.add_argument(
        "--input",
        type=sizes,
        metavar="C,H,W",
        help="shape of an image for package.module:function (default: 3,224,224)",
    )


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.build import make_table
    from hakd.study.files import read_configuration

    logging.getLogger("hakd.sweeping").setLevel(logging.INFO)
    entry = find_entry(arguments)
    request = _request(arguments)
    with respelling(entry):
        make_table(entry, read_configuration(arguments.config), request)
    return FINE


def _request(arguments: argparse.Namespace) -> "TableRequest":
    from hakd.latency_tables.build import TableRequest

    own = ":" in arguments.network
    if arguments.input is not None and not own:
        remedy = "Leave it out: use `input_size` of the network's settings, and --channels"
        raise HakdError("only for package.module:function", key="--input", remedy=remedy)
    for key, given in (("--channels", arguments.channels), ("--classes", arguments.classes)):
        if own and given is not None:
            remedy = "Leave it out: the function defines the network, and --input the image"
            raise HakdError("only for networks of the configuration", key=key, remedy=remedy)
    if arguments.prior and arguments.mode == "exhaustive":
        remedy = "Leave it out, or use --mode map or targets"
        raise HakdError("of no use where every width is timed", key="--prior", remedy=remedy)
    shared = ("network", "mode", "out", "store", "groups", "again")  # named as the options are
    return TableRequest(
        **{name: getattr(arguments, name) for name in shared},
        levels=arguments.level,
        widths=arguments.widths,
        channels=arguments.channels,
        classes=arguments.classes,
        priors=arguments.prior,
        image=arguments.input,
    )
