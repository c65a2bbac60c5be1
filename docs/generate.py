"""Write the generated parts of the reference from the code: `python -m docs.generate`, in the folder of the checkout.

A generated part of a page stands between the comments `<!-- generated: KIND ARGUMENT -->` and `<!-- end -->`. The text
around it is written by hand. `--check` writes nothing, and fails if a part differs from the code.
"""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from urllib.request import urlopen

import msgspec
from msgspec import inspect
from prometheus_client.parser import text_string_to_metric_families

from docs import shell_files
from evanesce.config import kinds
from evanesce.config.model import Config
from evanesce.errors import CloseCode, ErrorCode
from evanesce.hookspecs import CONTENT_HOOKS, HOOK_CONTRACTS, Hooks
from evanesce.plugins import Plugins, discovery
from tests.ports import free_port

DOCS = Path(__file__).parent
PART = re.compile(r"^(<!-- generated: (\S+) ?(\S*) -->\n\n)(.*?)(^<!-- end -->$)", re.MULTILINE | re.DOTALL)
HOOK_EXAMPLES = "how-to/write-a-plugin.md"

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


# --- text ---------------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(page: Path) -> dict[str, str]:
    """Return the headings of a page by their anchors."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading): heading for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def linked(text: str, page: Path) -> str:
    """Replace the paths of other pages in a docstring, such as `docs/index.md`, by links from `page`."""

    def link(found: re.Match[str]) -> str:
        target, place = DOCS / found[1], found[2]
        known = headings(target)
        title = known[place] if place else next(iter(known.values()))
        return f"[{title}]({os.path.relpath(target, page.parent)}{'#' + place if place else ''})"

    return re.sub(r"docs/([\w/-]+\.md)(?:#([\w-]+))?", link, text)


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(*rows: tuple[str, ...]) -> str:
    """Return a table of Markdown; its first row is the head."""
    head, *others = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *others))


# --- source -------------------------------------------------------------------------------------------------------


def source(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    file = import_module(module).__file__
    assert file is not None
    return ast.parse(Path(file).read_text("utf-8"))


def docstring(node: ast.stmt | None) -> str:
    """Return the text of a string that stands alone as a statement, such as the docstring of an attribute."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return re.sub(r"\n +", "\n", node.value.value).strip()
    return ""


def documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Return each statement with the docstring that follows it."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        yield node, docstring(following)


def class_body(kind: type) -> list[ast.stmt]:
    """Return the statements in the definition of a class."""
    nodes = source(kind.__module__).body
    return next(node.body for node in nodes if isinstance(node, ast.ClassDef) and node.name == kind.__name__)


def attributes(kind: type) -> dict[str, str]:
    """Return the docstrings of the attributes of a class and its bases."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one.__module__.startswith("evanesce"):
            found |= {name: text for node, text in documented(class_body(one)) if text and (name := name_of(node))}
    return found


def name_of(node: ast.AST) -> str:
    """Return the name that a statement defines; empty if it defines none."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the signature of a function, without `self`."""
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    arguments = re.sub(r"(: [^:=]+?)=", r"\1 = ", arguments)  # as it is usually written
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{start} {node.name}({arguments}){result}"


# --- configuration ------------------------------------------------------------------------------------------------


def models() -> dict[str, type[msgspec.Struct]]:
    """Return the model of each table of the configuration."""
    tables = {
        field.name: field.type
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    for name, model in Plugins.load(discovery.names()).settings().items():
        if model is not None:
            tables[f"plugins.{name}"] = model
    return tables


def number(value: float) -> str:
    """Return a number without a needless fraction."""
    return str(int(value)) if value == int(value) else str(value)


def value_of(kind: inspect.Type) -> str:
    """Return the values that a setting may have, in words."""
    plain = kinds.plain(kind)
    if (several := kinds.list_beside_text(kind)) is not None:
        return f"{kinds.description(kind)}; or a list of up to {several.max_length}"
    if isinstance(plain, inspect.CollectionType):
        return f"list: {value_of(plain.item_type)}"
    if isinstance(plain, inspect.DictType):
        return f"table: {value_of(plain.key_type)} = {value_of(plain.value_type)}"
    if isinstance(plain, inspect.BoolType):
        return "true or false"
    if isinstance(plain, inspect.IntType | inspect.FloatType):
        text = "whole number" if isinstance(plain, inspect.IntType) else "number"
        if plain.gt is not None:
            return text + f", above {number(plain.gt)}" + ("" if plain.le is None else f", up to {number(plain.le)}")
        if plain.ge is not None:
            return text + f", {number(plain.ge)} " + ("or more" if plain.le is None else f"to {number(plain.le)}")
        return text
    if isinstance(plain, inspect.LiteralType):
        return " or ".join(map(str, plain.values))
    if not isinstance(plain, inspect.StrType):
        raise SystemExit(f"docs/generate.py has no words for {plain}")
    return kinds.description(kind) or "text"


def default_of(field: inspect.Field) -> str:
    """Return the default of a setting as TOML has it."""
    if field.required:
        return "must be set"
    if field.default is None:
        return "none"
    if callable(field.default_factory):
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    if isinstance(field.default, float):
        return f"`{number(field.default)}`"
    return f"`{msgspec.json.encode(field.default).decode().replace(',', ', ')}`"


def settings(name: str, page: Path) -> str:
    """Return the keys of a table of the configuration."""
    model = models()[name]
    kind = inspect.type_info(model)
    assert isinstance(kind, inspect.StructType)
    texts = attributes(model)
    rows = [
        (f"`{field.encode_name}`", value_of(field.type), default_of(field), cell(linked(texts[field.name], page)))
        for field in kind.fields
    ]
    return table(("key", "value", "default", "meaning"), *rows)


def enabled(_: str, page: Path) -> str:
    """Return the key that enables plugins, which no model has."""
    default = msgspec.json.encode(discovery.defaults()).decode().replace(",", ", ")
    meaning = (
        "The plugins that run, in the order in which they receive messages. `evanesce plugins` lists those that are "
        "installed. Exactly one of them must have a repository, at least one a way to sign in, and at least one a "
        "transport."
    )
    row = ("`enabled`", "list: names of installed plugins", f"`{default}`", meaning)
    return table(("key", "value", "default", "meaning"), row)


# --- errors, metrics ----------------------------------------------------------------------------------------------


def error_codes(_: str, page: Path) -> str:
    """Return the codes of the protocol's `error`."""
    texts = attributes(ErrorCode)
    rows = [
        (f"`{code}`", str(code.http_status), "yes" if code.retry else "no", cell(texts[code.name]))
        for code in ErrorCode
    ]
    return table(("code", "HTTP", "`retry`", "meaning"), *rows)


def close_codes(_: str, page: Path) -> str:
    """Return the codes with which connections are closed."""
    texts = attributes(CloseCode)
    rows = [(str(int(code)), "yes" if code.reconnect else "no", cell(texts[code.name])) for code in CloseCode]
    return table(("code", "may reconnect as it is", "meaning"), *rows)


def scrape() -> str:
    """Start a server with workers, which has all metrics, and return what `/metrics` answers."""
    bind = f"127.0.0.1:{free_port()}"
    evanesce = str(Path(sys.executable).with_name("evanesce"))
    command = [evanesce, "serve", "--workers", "2", "--set", f"plugins.quart.bind={bind}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EVANESCE__")}
    environment["EVANESCE__SERVER__SECRET"] = "s" * 32
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        try:
            assert server.stdout is not None
            if not server.stdout.readline().startswith("listening on "):
                raise SystemExit("docs/generate.py cannot start a server, whose metrics it describes")
            with urlopen(f"http://{bind}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
                return text
        finally:
            server.terminate()
            server.communicate(timeout=30)


def metrics(_: str, page: Path) -> str:
    """Return the metrics of a server."""
    rows = [("metric", "type", "labels", "meaning")]
    for family in sorted(text_string_to_metric_families(scrape()), key=lambda family: family.name):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label: None for sample in family.samples for label in sample.labels}
        known = ", ".join(f"`{label}`" for label in labels if label not in ("le", "worker"))
        rows.append((f"`{name}`", family.type, known, cell(family.documentation).removesuffix(".") + "."))
    return table(*rows)


# --- hooks and the Python API -------------------------------------------------------------------------------------


def hook_facts(hook: str, users: Mapping[str, Sequence[str]]) -> str:
    """Return what a call of a hook may do and see, and which plugins of Evanesce use it, as a list."""
    contract = HOOK_CONTRACTS[hook]
    raises = " or ".join(f"`{error.__name__}`" for error in contract.raises)
    names = ", ".join(f"`{name}`" for name, used in users.items() if hook in used)
    return "\n".join(
        [
            f"- Deadline: {'none' if contract.seconds is None else f'{contract.seconds:g} s'}",
            f"- May raise: {raises or 'nothing'}",
            f"- Is handed the content of messages: {'yes' if hook in CONTENT_HOOKS else 'no'}",
            f"- Plugins of Evanesce that use it: {names or 'none'}",
        ]
    )


def hooks(_: str, page: Path) -> str:
    """Return the hooks, in the order in which a server calls them."""
    examples = {
        hook: place for place, text in headings(DOCS / HOOK_EXAMPLES).items() for hook in re.findall(r"`(\w+)`", text)
    }
    installed = Plugins.load(discovery.names())
    users = {name: installed.hooks(name) for name in installed.names}
    parts: list[str] = []
    for node in class_body(Hooks):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = linked(ast.get_docstring(node) or "", page)
            example = os.path.relpath(DOCS / HOOK_EXAMPLES, page.parent) + "#" + examples[node.name]
            parts += [
                f"## `{node.name}`",
                f"`{signature(node)}`",
                text,
                hook_facts(node.name, users),
                f"[Example]({example})",
            ]
    return "\n\n".join(parts)


def definitions(module: str) -> list[tuple[ast.stmt, str]]:
    """Return the public definitions of a module, or of all modules of a package, in order."""
    imported = import_module(module)
    children = [one.name for one in pkgutil.iter_modules(getattr(imported, "__path__", []), f"{module}.")]
    public = getattr(imported, "__all__", None)
    found: list[tuple[ast.stmt, str]] = []
    for one in [module, *children]:
        for node, text in documented(source(one).body):
            name = name_of(node)
            if name and (name in public if public else not name.startswith("_")):
                found.append((node, text))
    return found


def members(node: ast.ClassDef) -> list[str]:
    """Return the attributes and the methods of a class, each as an item of a list."""
    items: list[str] = []
    for one, text in documented(node.body):
        if name_of(one).startswith("_"):
            continue
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(one) or ""
            if re.fullmatch(r"See `[\w.]+`\.", text):  # the interface describes it
                continue
            is_property = any(ast.unparse(decorator) == "property" for decorator in one.decorator_list)
            result = ast.unparse(one.returns) if one.returns else ""
            head = f"{one.name}: {result}" if is_property else signature(one)
        elif isinstance(one, ast.AnnAssign | ast.Assign):
            head = re.sub(r" = field\(.*", "", ast.unparse(one))
        else:
            continue
        lines = text.splitlines()
        items.append("\n".join([f"- `{head}`", *([""] if lines else []), *(f"  {line}".rstrip() for line in lines)]))
    return items


def class_head(node: ast.ClassDef) -> str:
    """Return a class with the arguments of its constructor, or with its bases."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return f"class {node.name}({signature(one).partition('(')[2].rpartition(') -> ')[0]})"
    bases = ", ".join(map(ast.unparse, node.bases))
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def module(name: str, page: Path) -> str:
    """Return the public API of a module."""
    level = "###" if f"## `{name}`" in page.read_text("utf-8") else "##"
    parts = [linked(ast.get_docstring(source(name)) or "", page)]
    if "──" in parts[0]:  # a tree
        parts = [re.sub(r"\n\n(.*)", r"\n\n```text\n\1\n```", parts[0], flags=re.DOTALL)]
    for node, text in definitions(name):
        parts.append(f"{level} `{name_of(node)}`")
        if isinstance(node, ast.ClassDef):
            parts += [f"`{class_head(node)}`", ast.get_docstring(node) or "", *members(node)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts += [f"`{signature(node)}`", ast.get_docstring(node) or ""]
        else:
            parts += [f"`{ast.unparse(node)}`", text]
    return "\n\n".join(linked(part, page) for part in parts if part)


# --- pages --------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[str, Path], str]] = {
    "settings": settings,
    "enabled": enabled,
    "error-codes": error_codes,
    "close-codes": close_codes,
    "metrics": metrics,
    "hooks": hooks,
    "module": module,
}


def parts() -> Iterator[tuple[Path, str, str]]:
    """Return the generated parts of all pages: the page, the kind and its argument."""
    for page in sorted(DOCS.rglob("*.md")):
        for part in PART.finditer(page.read_text("utf-8")):
            yield page, part[2], part[3]


def regenerated(page: Path) -> str:
    """Return the text of a page with its generated parts made anew."""
    return PART.sub(lambda part: f"{part[1]}{KINDS[part[2]](part[3], page)}\n\n{part[5]}", page.read_text("utf-8"))


def main() -> None:
    """Write every page that has a generated part, and the files for shells."""
    stale: list[str] = []
    for page in sorted({page for page, _, _ in parts()}):
        old, new = page.read_text("utf-8"), regenerated(page)
        if old != new:
            stale.append(str(page.relative_to(DOCS.parent)))
            if "--check" not in sys.argv:
                page.write_text(new, "utf-8")
    for path, new in shell_files.files().items():
        if not path.exists() or path.read_text("utf-8") != new:
            stale.append(str(path.relative_to(DOCS.parent)))
            if "--check" not in sys.argv:
                path.write_text(new, "utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit(f"Run `python -m docs.generate`: {', '.join(stale)} differ from the code")
    print("\n".join(stale) or "nothing has changed")


if __name__ == "__main__":
    main()
