"""`hakd sweep`: a latency table alone."""

import argparse
import logging
from typing import TYPE_CHECKING

from hakd.commands.common import FINE, Commands, command, fraction, from_, sizes
from hakd.records.errors import HakdError

if TYPE_CHECKING:
    from hakd.study.devices import Entry

CHANNELS = 1024  # of an image: hyperspectral ones have some hundred


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "sweep",
        "build a latency table of a network on a device alone, without training or data",
        "Build a latency table of a network on a device: for each width group, latency over its width. Nothing is\n"
        "trained and no data set is read. Every burst is kept in the store: the same command goes on after a\n"
        "kill, and a study that shares the store measures nothing twice.\n\n"
        "examples:\n"
        "  hakd sweep local mobilenet --mode map --out mobilenet.parquet\n"
        "  hakd sweep pi4.yaml densenet --mode map --groups dense1 dense2 --out pi4.csv\n"
        "  hakd sweep pi4 mobilenet --mode targets --level 0.5 0.25 --out pi4.parquet\n"
        "  hakd sweep pi5 mobilenet --prior pi4.parquet pi3.parquet --out pi5.parquet\n"
        "  hakd sweep pi4 torchvision.models:resnet18 --input 3,224,224 --out resnet18.parquet",
    )
    found.add_argument("device", metavar="DEVICE", help="where to time")
    found.add_argument(
        "network",
        metavar="NETWORK",
        help="a name of the configuration's `networks`, a family with defaults, or package.module:function, "
        "a function of yours that gives a torch.nn.Module",
    )
    found.add_argument("--out", required=True, metavar="TABLE", help="where to write it: .parquet or .csv")
    found.add_argument(
        "--mode",
        choices=("map", "targets", "exhaustive"),
        default="map",
        help="map: the whole curve, coarse first, then narrowed down where neighbours differ (the default); "
        "targets: what choosing a width near the network's own needs, as in a study; "
        "exhaustive: every width, the truth that the other two are checked against",
    )
    found.add_argument(
        "--prior",
        nargs="+",
        default=[],
        metavar="TABLE",
        help="latency tables of other devices: what they have in common orders what is timed, so that fewer points do "
        "where the device is like them (docs/transfer.md; needs the optional extra `transfer`)",
    )
    start = found.add_mutually_exclusive_group()
    start.add_argument(
        "--level",
        nargs="+",
        type=fraction,
        default=[1.0],
        metavar="X",
        help="fraction of the full network's MACs that the other groups' widths are scaled to, all alike "
        "(default: 1, the full network)",
    )
    start.add_argument(
        "--widths",
        nargs="+",
        default=[],
        metavar="FILE",
        help="start from widths that a study chose: results/{network}/widths/{level}.json",
    )
    found.add_argument("--groups", nargs="+", default=[], metavar="GROUP", help="these width groups only")
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument(
        "--again",
        action="store_true",
        help="measure all of it again; what the store has of it does not count any more. Without it the same command "
        "takes further looks at what could not be told",
    )
    found.add_argument("--min-step", type=fraction, metavar="X", help="smallest step that matters, e.g. 0.1")
    found.add_argument("--processes", type=from_(2), metavar="N", help="fresh processes in a look, 2 or more")
    found.add_argument("--rounds", type=from_(3), metavar="N", help="rounds in a process, 3 or more")
    found.add_argument(
        "--channels",
        type=from_(1, CHANNELS),
        metavar="N",
        help=f"of an image, up to {CHANNELS} (default: the data set's, or 3)",
    )
    found.add_argument("--classes", type=from_(2), metavar="N", help="(default: the data set's, or 10)")
    found.add_argument(
        "--input",
        type=sizes,
        metavar="C,H,W",
        help="an image of package.module:function (default: 3,224,224)",
    )
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.build import TableRequest, make_table
    from hakd.study.devices import changed, find_device
    from hakd.study.files import read_configuration

    logging.getLogger("hakd.sweeping").setLevel(logging.INFO)
    given = {key: getattr(arguments, key) for key in ("processes", "rounds", "min_step")}
    entry = changed(find_device(arguments.device, arguments.config), given)
    if ":" in arguments.network:
        return _own(arguments, entry)
    if arguments.input is not None:
        remedy = "Leave it out: `input_size` of the network's settings and --channels say it"
        raise HakdError("belongs to package.module:function", key="--input", remedy=remedy)
    if arguments.prior and arguments.mode == "exhaustive":
        remedy = "Leave it out, or use --mode map or targets"
        raise HakdError("has nothing to say where every width is timed", key="--prior", remedy=remedy)
    request = TableRequest(
        arguments.network,
        arguments.mode,
        arguments.out,
        arguments.store,
        arguments.level,
        arguments.widths,
        arguments.groups,
        arguments.channels,
        arguments.classes,
        arguments.prior,
        arguments.again,
    )
    try:
        make_table(entry, read_configuration(arguments.config), request)
    except HakdError as error:
        raise entry.respelled(error) from None
    return FINE


def _own(arguments: argparse.Namespace, entry: "Entry") -> int:
    """A network of the user's own function: it is timed as it is built."""
    from hakd.explaining.own_network import IMAGE, OwnRequest, own_table
    from hakd.study.files import read_configuration

    other = {
        "--mode targets": arguments.mode == "targets",
        "--level": arguments.level != [1.0],
        "--widths": bool(arguments.widths),
        "--channels": arguments.channels is not None,
        "--classes": arguments.classes is not None,
        "--prior": bool(arguments.prior),
    }
    for key, given in other.items():
        if given:
            remedy = "Leave it out: the function says what the network is, and --input what an image is"
            raise HakdError("goes with networks of the configuration only", key=key, remedy=remedy)
    request = OwnRequest(
        arguments.network,
        arguments.input or IMAGE,
        arguments.mode,
        arguments.out,
        arguments.store,
        arguments.groups,
        arguments.again,
    )
    try:
        own_table(entry, read_configuration(arguments.config), request)
    except HakdError as error:
        raise entry.respelled(error) from None
    return FINE
