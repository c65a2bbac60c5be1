"""Joins the JavaScript modules of the page into one, so that a browser needs one request for them, not forty.

The files stay plain ES modules, which run as they are. They are joined when the server starts, without a build step:
each becomes a function that returns its exports, and is called once, after those of the modules that it imports.
Comments that fill whole lines are left out: they are a third of the bytes. Licences stay: they begin with `/*!`.

A module that is named in an `import()` becomes the entry of another joined file, with what it imports that is in no
earlier one: the largest first, so that a page that imports most of its modules late still needs one request for them.
All other modules stay files of their own. Each imports from the joined files what is in them, so that there is one
instance of each module. A module that is joined cannot wait at its top level.

Only the usual forms of imports and exports are understood, each at the beginning of a line, as Prettier writes them.
Any other form is an error at the start, and so is a circle.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?!!)(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)
_IMPORT = re.compile(
    r'^import (?:\{(?P<names>[^{}]*)\}|\* as (?P<all>\w+)|(?P<default>\w+)) from "(?P<path>\.[^"\n]*)";$', re.MULTILINE
)
_REEXPORT = re.compile(r'^export \{(?P<names>[^{}]*)\} from "(?P<path>\.[^"\n]*)";$', re.MULTILINE)
_LIST = re.compile(r"^export \{(?P<names>[^{}]*)\};$", re.MULTILINE)
_DECLARATION = re.compile(r"^export (?=(?:const|class|function\*?|async function\*?) (?P<name>\w+)\b)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default (?!(?:class|function|async function)\b)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import\b(?! *[(.])|export\b)[^\n]*", re.MULTILINE)
_LATE = re.compile(r'\bimport\("\./([\w-]+\.js)"\)')
_PLACE = re.compile(r"\bimport *(?:\(|\.meta\b)")


@dataclass
class _Module:
    """A module that was read. `body` has no imports and exports; `exports` are expressions by name."""

    body: str
    imports: list[str] = field(default_factory=list[str])
    exports: dict[str, str] = field(default_factory=dict[str, str])


def join_modules(files: Mapping[str, str], entry: str) -> dict[str, str]:
    """Return the modules to serve in place of `files`, by name: the joined one as `entry`, and those that it lacks.

    Names are paths relative to the folder of `entry`. Raises `ValueError` for a form that is not understood.
    """
    owners: dict[str, str] = {}  # the joined file that has a module
    joined: dict[str, str] = {}
    for start in [entry, *_late_entries(files, entry)]:
        if start in owners:
            continue
        order: dict[str, _Module] = {}
        _collect(start, files, order, ())
        own = {name: module for name, module in order.items() if name not in owners}
        taken = sorted({name for module in own.values() for name in module.imports} & owners.keys())
        imports = [f'import {{ {_variable(name)} }} from "{_address(start, owners[name])}";\n' for name in taken]
        parts = [_wrapped(name, module) for name, module in own.items()]
        exports = [] if start == entry else [_exported(start, own[start])]
        joined[start] = "".join([*imports, *parts, *exports])
        owners |= dict.fromkeys(own, start)
    for name in files.keys() - owners.keys():
        joined[name] = _separate(name, _COMMENT.sub("", files[name]), owners)
    return joined


def _late_entries(files: Mapping[str, str], entry: str) -> list[str]:
    """Return the modules of the entry's folder that an `import()` names, those that import most modules first."""
    named = {name for source in files.values() for name in _LATE.findall(_COMMENT.sub("", source)) if name in files}
    sizes: dict[str, int] = {}
    for name in named - {entry}:
        order: dict[str, _Module] = {}
        _collect(name, files, order, ())
        sizes[name] = len(order)
    return sorted(sizes, key=lambda name: (-sizes[name], name))


def _collect(name: str, files: Mapping[str, str], order: dict[str, _Module], importing: tuple[str, ...]) -> None:
    """Add a module to `order`, after those that it imports. `importing` are those that wait for it."""
    if name in order:
        return
    if name in importing:
        raise ValueError(f"{name} imports itself, by way of {importing[-1]}")
    if name not in files:
        raise ValueError(f"{importing[-1]} imports {name}, which does not exist")
    module = _read(name, files[name])
    for imported in module.imports:
        _collect(imported, files, order, (*importing, name))
    order[name] = module


def _read(name: str, source: str) -> _Module:
    module = _Module("")

    def resolve(path: str) -> str:
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        module.imports.append(found)
        return _variable(found)

    def reexport(found: re.Match[str]) -> str:
        origin = resolve(found["path"])
        module.exports |= {public: f"{origin}.{own}" for own, public in _names(found["names"])}
        return ""

    def export_list(found: re.Match[str]) -> str:
        module.exports |= {public: own for own, public in _names(found["names"])}
        return ""

    def export(found: re.Match[str]) -> str:
        module.exports[found["name"]] = found["name"]
        return ""

    def export_default(_: re.Match[str]) -> str:
        module.exports["default"] = "$default"
        return "const $default = "

    body = _IMPORT.sub(lambda found: _binding(found, resolve(found["path"])), _COMMENT.sub("", source))
    replacements: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
        (_REEXPORT, reexport),
        (_LIST, export_list),
        (_DECLARATION, export),
        (_DEFAULT, export_default),
    ]
    for pattern, replace in replacements:
        body = pattern.sub(replace, body)
    if left := _LEFT.search(body):
        raise ValueError(f"{name} has a form that cannot be joined: {left[0]}")
    if "/" in name and _PLACE.search(body):
        raise ValueError(
            f"{name} is in a folder, and would find other addresses by import() and import.meta when joined"
        )
    module.body = body
    return module


def _binding(found: re.Match[str], origin: str) -> str:
    """Return the statement that binds what an import names, from the variable with the exports of the other module."""
    if found["all"] is not None:
        return f"const {found['all']} = {origin};"
    if found["default"] is not None:
        return f"const {found['default']} = {origin}.default;"
    return f"const {{{_pattern(_names(found['names']))}}} = {origin};"


def _wrapped(name: str, module: _Module) -> str:
    exports = ", ".join(f"{public}: {own}" for public, own in module.exports.items())
    return f"export const {_variable(name)} = (() => {{\n{module.body}return {{ {exports} }};\n}})();\n"


def _exported(name: str, module: _Module) -> str:
    """Return the statements that export what a module exports, from a file that it is the entry of."""
    variable = _variable(name)
    named = [public for public in module.exports if public != "default"]
    lines = [f"export const {{ {', '.join(named)} }} = {variable};\n"] if named else []
    return "".join([*lines, *([f"export default {variable}.default;\n"] if "default" in module.exports else [])])


def _separate(name: str, source: str, owners: Mapping[str, str]) -> str:
    """Return a module that stays a file, with its imports from joined modules turned into imports from their files."""

    def replace(found: re.Match[str]) -> str:
        imported = posixpath.normpath(posixpath.join(posixpath.dirname(name), found["path"]))
        if imported not in owners:
            return found[0]
        origin = _variable(imported)
        return f'import {{ {origin} }} from "{_address(name, owners[imported])}";\n{_binding(found, origin)}'

    return _IMPORT.sub(replace, source)


def _address(name: str, other: str) -> str:
    """Return the address of another file, relative to the file `name`."""
    path = posixpath.relpath(other, posixpath.dirname(name) or ".")
    return path if path.startswith(".") else f"./{path}"


def _names(text: str) -> list[tuple[str, str]]:
    """Return the pairs (`own`, `public`) of `a, b as c`, the names of an import or export."""
    pairs: list[tuple[str, str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        own, _, public = part.partition(" as ")
        pairs.append((own.strip(), public.strip() or own.strip()))
    return pairs


def _pattern(names: list[tuple[str, str]]) -> str:
    return ", ".join(own if own == local else f"{own}: {local}" for own, local in names)


def _variable(name: str) -> str:
    """Return the variable of the joined module that has the exports of a module."""
    return "$" + re.sub(r"\W", lambda found: f"${ord(found[0]):x}$", name.removesuffix(".js"))
