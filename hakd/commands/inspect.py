"""`hakd inspect`: where every byte of a compressed network goes."""

import argparse

from hakd.commands.common import FINE, Commands, command


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "inspect",
        "show where every byte of a compressed network goes, stage by stage",
        "Read a compressed network (.hakdc) and print its bytes by layer and stage: dense float32, pruned (values and\n"
        "index differences), shared (codes, index differences, codebook) and coded, with the rates that the stages\n"
        "reach over dense: P, P+Q and P+Q+H. `bits` and `index` are the bits of a code and of an index difference,\n"
        "`coded` behind each what Huffman coding makes of them on average. Nothing is measured.\n\n"
        "examples:\n"
        "  hakd inspect results/mobilenet/deep_compression/0.1-0.hakdc\n"
        "  hakd inspect results/mobilenet/deep_compression/0.1-0.hakdc --json",
        device=False,
    )
    found.add_argument("file", metavar="FILE", help="a compressed network: .hakdc")
    found.add_argument("--json", action="store_true", help="print the bytes as JSON")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.deep_compression.inspecting import as_dict, as_text, inspect_file
    from hakd.deep_compression.store import load_bytes

    inspection = inspect_file(load_bytes(arguments.file), arguments.file)
    if arguments.json:
        import json

        print(json.dumps(as_dict(inspection), indent=1))
    else:
        print("\n".join(as_text(inspection)))
    return FINE
