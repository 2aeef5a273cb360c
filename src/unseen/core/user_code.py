"""Code that users wrote: called behind one guard, and known by the source of its modules."""

import ast
import contextlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from unseen.core.errors import OutOfMemoryError, UnseenError, first_line, is_out_of_memory
from unseen.core.files import sha256_of_file

_SUFFIXES = (*importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)


@contextlib.contextmanager
def user_code(name: str, error: type[UnseenError], detail: str = "") -> Iterator[None]:
    """Run a user's code: whatever it raises becomes one error, and what it prints goes to stderr.

    Args:
        name: how messages call the user's object, e.g. its spec.
        error: the class of the error.
        detail: what the code was working on; the end of the message.

    Raises:
        error: the code raised, or called sys.exit.
        OutOfMemoryError: memory ran out.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except UnseenError:
        raise
    except SystemExit as stop:
        raise error(
            f"{name} called sys.exit({stop.code!r}){detail}; raise an exception instead"
        ) from stop
    except BaseException as fault:
        if type(fault) in (KeyboardInterrupt, GeneratorExit):  # Ctrl-C; subclasses are the user's
            raise
        if is_out_of_memory(fault):
            raise OutOfMemoryError(
                f"{name} ran out of memory{detail}; give it fewer images at a time "
                f"(--batch-size, batch_size), or use a smaller network ({first_line(fault)})"
            ) from fault
        raise error(
            f"{name} raised {first_line(fault)}{detail}; mend it (--debug shows where)"
        ) from fault


def module_files(module_name: str) -> dict[str, str]:
    """The files whose code an imported module runs, and the SHA-256 of each.

    These are the module's own source and, from the folder that it stands in, every module that it
    imports, at any depth, inside functions too. Installed packages are left out, unless the module
    is part of one: then it is that package.

    Args:
        module_name: of a module in `sys.modules`, e.g. "mine" or "package.mine".

    Returns:
        The path below the folder, with "/", to SHA-256; empty for a module without a file.
    """
    file = getattr(sys.modules[module_name], "__file__", None)
    if file is None:
        return {}
    path = Path(file).absolute()
    parts = module_name.split(".")
    root = path.parents[len(parts) - (path.stem != "__init__")]
    top = parts[0] if _installed(root) else None
    waiting, seen = [module_name], set[str]()
    files: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        outside = top is not None and name.partition(".")[0] != top
        if name in seen or outside or not all(part.isidentifier() for part in name.split(".")):
            continue
        seen.add(name)
        package = name.rpartition(".")[0]
        waiting.append(package)
        source = _source(root, name)
        if source is not None:
            files[source.relative_to(root).as_posix()] = sha256_of_file(source)
            if source.suffix == ".py":
                waiting += _imports(source, name if source.stem == "__init__" else package)
    return dict(sorted(files.items()))


def _installed(folder: Path) -> bool:
    """Whether a folder belongs to Python, or to the packages that are installed for it."""
    paths = sysconfig.get_paths()
    homes = [Path(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return folder.name in ("site-packages", "dist-packages") or folder in homes


def _source(root: Path, name: str) -> Path | None:
    """The file of a module, or the `__init__.py` of a package, below a folder."""
    stem = root.joinpath(*name.split("."))
    candidates = [stem / "__init__.py", *(stem.with_name(stem.name + end) for end in _SUFFIXES)]
    return next((path for path in candidates if path.is_file()), None)


def _imports(source: Path, package: str) -> Iterator[str]:
    """The names of all modules that a source file may import; some are no modules."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # a module that nothing imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            names = [part for part in (*base, *(node.module or "").split(".")) if part]
            yield ".".join(names)
            yield from (".".join([*names, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            argument = node.args[0]
            if called in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield str(argument.value)
