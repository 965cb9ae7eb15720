"""Rows put into the forms that the description has: activations in one op, paddings in their windows, tiles.

Nothing that is computed changes.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import takewhile

from hakd.importing.rows import Row, Rows
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule

_CLOSE = 1e-4
_ROOT_HALF = 0.5**0.5
_GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}


def rewritten(rows: Rows) -> Rows:
    """Rows in the description's forms, each with its tile."""
    for rewrite in (_joined_steps, _hard_sigmoids, _gelus, _gated, _padded, _flat_means, _grown):
        rows = rewrite(rows)
    return _tiled(rows)


def _is(row: Row | None, value: float) -> bool:
    """Whether a row multiplies by, or adds, this number."""
    return row is not None and abs(row.attributes["value"] - value) <= _CLOSE * abs(value)


def _one_by_one(find: Callable[[Rows, Row], dict[str, Row | None] | None]) -> Callable[[Rows], Rows]:
    """A rewriting that looks at each row in turn, as the ones before have left it."""

    def rewrite(rows: Rows) -> Rows:
        for name in [row.name for row in rows.rows]:
            if name in rows.by_name and (changed := find(rows, rows.by_name[name])):
                rows = rows.replaced(changed)
        return rows

    return rewrite


@_one_by_one
def _joined_steps(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """Two factors in a row are one."""
    before = rows.maker(row.inputs[0], "_scale")
    if row.kind != "_scale" or before is None or not rows.alone(before.name):
        return None
    value = row.attributes["value"] * before.attributes["value"]
    return {before.name: None, row.name: replace(row, inputs=before.inputs, attributes={"value": value})}


@_one_by_one
def _hard_sigmoids(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """min(max(x + 3, 0), 6) / 6, and relu6(x + 3) after which the product with x is divided."""
    if row.kind != "_scale" or not _is(row, 1 / 6):
        return None
    clip = rows.maker(row.inputs[0], "relu6")
    if clip is not None and rows.alone(clip.name):
        shift = rows.maker(clip.inputs[0], "_shift")
        if _is(shift, 3.0) and shift is not None and rows.alone(shift.name):
            made = replace(row, kind="hardsigmoid", inputs=shift.inputs, attributes={})
            return {shift.name: None, clip.name: None, row.name: made}
    product = rows.maker(row.inputs[0], "mul")
    if product is None or not rows.alone(product.name):
        return None
    for x, gate in (product.inputs, product.inputs[::-1]):
        clip = rows.maker(gate, "relu6")
        shift = rows.maker(clip.inputs[0], "_shift") if clip is not None and rows.alone(gate) else None
        if clip is not None and shift is not None and _is(shift, 3.0) and rows.alone(shift.name):
            if shift.inputs[0] != x:
                continue
            made = replace(row, kind="hardswish", inputs=(x,), attributes={})
            return {shift.name: None, clip.name: None, product.name: None, row.name: made}
    return None


@_one_by_one
def _gelus(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """x / 2 (1 + erf(x / sqrt 2)), whichever of the factors comes first."""
    if row.kind != "_shift" or not _is(row, 1.0):
        return None
    erf = rows.maker(row.inputs[0], "_erf")
    root = rows.maker(erf.inputs[0], "_scale") if erf is not None and rows.alone(erf.name) else None
    if erf is None or root is None or not _is(root, _ROOT_HALF):
        return None
    if not rows.alone(root.name) or not rows.alone(row.name):
        return None
    (product,) = rows.users[row.name]
    if product.kind != "mul":
        return None
    x, gone = root.inputs[0], dict.fromkeys((root.name, erf.name, row.name))
    (other,) = [name for name in product.inputs if name != row.name] or [row.name]
    half = rows.maker(other, "_scale")
    if half is not None and _is(half, 0.5) and half.inputs[0] == x and rows.alone(half.name):
        made = replace(product, kind="gelu", inputs=(x,))
        return {**gone, half.name: None, product.name: made}
    users = rows.users.get(product.name, [])
    if other != x or not rows.alone(product.name) or users[0].kind != "_scale" or not _is(users[0], 0.5):
        return None
    made = replace(users[0], kind="gelu", inputs=(x,), attributes={})
    return {**gone, product.name: None, made.name: made}


@_one_by_one
def _gated(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """A product with the row's own input."""
    if row.kind not in _GATED or not rows.alone(row.name):
        return None
    (product,) = rows.users[row.name]
    if product.kind != "mul" or sorted(product.inputs) != sorted((row.name, row.inputs[0])):
        return None
    return {row.name: None, product.name: replace(product, kind=_GATED[row.kind], inputs=row.inputs)}


@_one_by_one
def _padded(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """Zeros that are put around an image before a window goes over it, as many on both sides."""
    if row.kind != "pad" or not rows.alone(row.name):
        return None
    (user,) = rows.users[row.name]
    (top, bottom), (left, right) = row.attributes["edges"]
    if user.kind not in ("conv", "avg_pool") or top != bottom or left != right:
        return None
    if any(user.attributes.get("padding", (0, 0))) or user.attributes.get("ceil"):
        return None
    sides = zip((top, left), user.attributes["kernel"], strict=True)
    if user.kind == "avg_pool" and any(2 * pad > side for pad, side in sides):
        return None  # more than a pool takes
    attributes = {**user.attributes, "padding": (top, left)}
    if user.kind == "avg_pool":
        attributes.pop("count_padding", None)  # counted
    return {row.name: None, user.name: replace(user, inputs=row.inputs, attributes=attributes)}


@_one_by_one
def _flat_means(rows: Rows, row: Row) -> dict[str, Row | None] | None:
    """A mean over all pixels that is flattened is flat itself."""
    if row.kind != "global_avg_pool" or not row.attributes.get("keep") or not rows.alone(row.name):
        return None
    (user,) = rows.users[row.name]
    if user.kind != "flatten":
        return None
    return {row.name: None, user.name: replace(row, name=user.name, attributes={})}


def _grown(rows: Rows) -> Rows:
    """A concatenation that begins with all of an earlier one takes that instead of its parts.

    Dense blocks then are layers behind one another, each of which is a tile.
    """
    known: dict[tuple[str, ...], str] = {}  # parts -> the tensor that has them
    parts: dict[str, tuple[str, ...]] = {}
    kept = []
    for row in rows.rows:
        if row.kind == "concat":
            whole = tuple(part for name in row.inputs for part in parts.get(name, (name,)))
            for length in range(len(whole) - 1, 1, -1):
                if whole[:length] in known:
                    row = replace(row, inputs=(known[whole[:length]], *whole[length:]))
                    break
            known.setdefault(whole, row.name)
            parts[row.name] = whole
        kept.append(row)
    return Rows(kept, rows.output)


# --- tiles


def _tiled(rows: Rows) -> Rows:
    """Each row with its tile: the network is cut wherever a single tensor leads on, and each tile has a layer.

    What follows a layer (batch norm, activation, pool) belongs to it, and a depthwise convolution to the layer behind.
    """
    tiles: list[list[Row]] = []
    waiting: list[Row] = []
    for section in _sections(rows):
        kinds = [_rule(row) for row in section]
        if Rule.MAKES in kinds:
            tiles.append([*waiting, *section])
            waiting = []
        elif waiting or not tiles or any(row.kind == "conv" for row in section):
            waiting += section
        else:
            tiles[-1] += section
    if waiting and tiles:
        tiles[-1] += waiting
    elif waiting:
        tiles.append(waiting)
    named, taken = [], set[str]()
    for tile in tiles:
        name = next(
            one for one in (*_tile_names(tile), f"{tile[0].name} and more") if one and one not in taken
        )
        taken.add(name)
        named += [replace(row, tile=name) for row in tile]
    return Rows(named, rows.output)


def _rule(row: Row) -> Rule | None:
    kind = KINDS.get(row.kind)
    return None if kind is None else kind.rule_of(Op(row.kind, row.name, (), "", "", row.attributes))


def _tile_names(tile: list[Row]) -> Iterable[str]:
    """What all layers of a tile have in front of their names; else the name of its first layer."""
    layers = [row.name for row in tile if row.made is not None] or [row.name for row in tile]
    paths = [name.split(".") for name in layers]
    alike = takewhile(lambda parts: len({*parts}) == 1, zip(*paths, strict=False)) if len(paths) > 1 else ()
    return (".".join(parts[0] for parts in alike), *layers, *(row.name for row in tile))


def _sections(rows: Rows) -> list[list[Row]]:
    """Rows between places where one tensor alone is needed by what follows."""
    last = {name: place for place, row in enumerate(rows.rows) for name in row.inputs}
    begun = max((place for name, place in last.items() if name not in rows.by_name), default=0)
    live, found, section = set[str](), list[list[Row]](), list[Row]()
    for place, row in enumerate(rows.rows):
        section.append(row)
        live.add(row.name)
        live = {name for name in live if last.get(name, len(rows.rows)) > place}
        if len(live) == 1 and place >= begun:
            found.append(section)
            section = []
    return [*found, section] if section else found
