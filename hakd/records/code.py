"""Digests of package code, so that Snakemake reruns a rule when the code it uses changes, and only then."""

import ast
import atexit
import contextlib
import functools
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from hakd.records.errors import HakdError
from hakd.records.files import write_bytes

CHECKOUT = Path(__file__).resolve().parents[2]
KEPT = CHECKOUT / ".cache" / f"digests-{platform.python_version()}.json"  # trees differ between versions
MOST = 4000  # modules in that file; a checkout has some 300


def script_digest(script: str, skip: Iterable[str] = ()) -> str:
    """Short hash of a rule's script (a path) and of what it imports, each as `code_digest` reads a module.

    Snakemake itself compares the times of scripts, which a fresh clone changes; `profiles/default` switches that off.
    """
    own, modules = _digest(Path(script).read_text())
    return hashlib.sha256(f"{own} {code_digest(modules, skip)}".encode()).hexdigest()[:12]


def code_digest(modules: Iterable[str], skip: Iterable[str] = ()) -> str:
    """Short hash of the syntax trees of `modules` and of every package module they import, directly or not.

    Comments, docstrings, layout and touched files do not count. Modules that start with a name in `skip` are left out
    (the measuring code carries a protocol number instead).
    """
    skipped = tuple(skip)
    pending, seen = list(modules), set()
    while pending:
        name = pending.pop()
        if name in seen or name.startswith(skipped or ("\0",)):
            continue
        seen.add(name)
        pending.extend(_read(name)[1])
    content = "\n".join(f"{name} {_read(name)[0]}" for name in sorted(seen))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def folder_digest(folder: str) -> str:
    """Short hash of the files in a folder of the checkout, at any depth: of what code reads beside modules."""
    content = hashlib.sha256()
    for path in sorted(path for path in (CHECKOUT / folder).rglob("*") if path.is_file()):
        content.update(f"{path.relative_to(CHECKOUT).as_posix()} {path.stat().st_size} ".encode())
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


@functools.cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """`_digest` of a module of the package."""
    return _digest(_path(name).read_text())


def _digest(source: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's syntax tree without its docstrings, and the package modules that it imports anywhere."""
    name, kept = hashlib.sha256(source.encode()).hexdigest()[:32], _kept()
    if name not in kept:
        if not _NEW:
            atexit.register(_keep)
        kept[name] = _NEW[name] = _digest_of_tree(ast.parse(source))
    digest, imports = kept[name]
    return digest, tuple(found for found in imports if _exists(found))


_Digest = tuple[str, list[str]]
_NEW: dict[str, _Digest] = {}


@functools.cache
def _kept() -> dict[str, _Digest]:
    """What earlier processes have read, by the content of the module: parsing all of them takes a second."""
    try:
        return dict(json.loads(KEPT.read_text()))
    except (OSError, ValueError):  # none yet, or damaged
        return {}


def _keep() -> None:
    """Write what is new for the next process, where the checkout may be written to."""
    entries = _kept() if len(_kept()) < MOST else _NEW
    with contextlib.suppress(HakdError):
        write_bytes(KEPT, json.dumps(entries).encode())


def _digest_of_tree(tree: ast.Module) -> _Digest:
    """Hash of a syntax tree without docstrings, and what it may import of the package: modules, or names in them."""
    imports = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module)
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
    ours = sorted(found for found in imports if found.split(".")[0] == "hakd")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), ours


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """A module and all statements in it, at any depth; walking their expressions too takes five times as long."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending.extend(getattr(node, block, ()))


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _path(name: str) -> Path:
    base = CHECKOUT.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _exists(name: str) -> bool:
    return _path(name).is_file()
