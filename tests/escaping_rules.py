"""Which texts of the pages come from anywhere, and whether they go through the door where Streamlit reads a language.

A text is safe when it is a constant, a number, put together from safe texts, or what a door gives. Names are followed
to what is assigned to them, calls to what the function returns, and parameters to every call of the function.
"""

import ast
import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "skrd4ad"
LABELLED = {
    "button", "download_button", "form_submit_button", "link_button", "page_link", "checkbox", "toggle", "radio",
    "selectbox", "multiselect", "slider", "select_slider", "text_input", "text_area", "number_input", "date_input",
    "file_uploader", "camera_input", "pills", "segmented_control", "expander", "popover", "status", "badge", "metric",
}  # fmt: skip
BODIES = {
    "markdown", "caption", "header", "subheader", "info", "warning", "error", "success", "toast", "write", "spinner",
    "tabs",
}  # fmt: skip
KEYWORDS = {
    **dict.fromkeys(LABELLED, frozenset({"label", "help"})),
    **dict.fromkeys(BODIES, frozenset({"body", "help", "text"})),
    "title": {"body", "help"},
    "progress": {"text"},
    "image": {"caption"},
    "radio": {"label", "help", "captions", "format_func"},
    "pills": {"label", "help", "format_func"},
    "segmented_control": {"label", "help", "format_func"},
    "metric": {"label", "value", "delta", "help"},
    "TextColumn": {"help"},
    "NumberColumn": {"help"},
    "Column": {"help"},
}
POSITIONS = {
    **dict.fromkeys(LABELLED | BODIES, (0,)),
    "title": (0,),
    "metric": (0, 1, 2),
    "progress": (1,),
    "dialog": (0,),
}
FIGURE_KEYWORDS = {"name", "text", "hovertemplate", "title_text", "ticktext"}
FIGURE_CALLS = {"add_bar", "add_scatter", "add_annotation", "update_xaxes", "update_yaxes", "add_histogram"}
DOORS = {"markdown": {"plain", "plain_lines"}, "html": {"escape"}, "figure": {"in_figure"}}
NUMBERS = {"int", "float", "bool", "None", "Count", "Positive", "datetime", "timedelta", "date"}
NUMERIC_CALLS = {"len", "sum", "int", "float", "round", "abs", "bool", "ord", "hash", "any", "all", "isinstance"}
OF_ARGUMENTS = {
    "str", "list", "tuple", "sorted", "reversed", "min", "max", "next", "set", "dict", "zip", "enumerate", "range",
    "iter", "map", "filter", "fromkeys", "repr", "Path",
}  # fmt: skip
OF_BASE = {
    "replace", "strip", "rstrip", "lstrip", "removesuffix", "removeprefix", "capitalize", "lower", "upper", "title",
    "split", "splitlines", "partition", "get", "values", "items", "keys", "join", "format", "most_common", "pop",
    "__getitem__", "strftime", "isoformat", "setdefault", "with_name",
}  # fmt: skip
ACCEPTED: dict[str, tuple[str, ...]] = {
    # what was left to be said is made by ``tell``, whose calls are looked at
    "skrd4ad/ui/models/state.py": ("message",),
    # escaped, with the marks of ``Mark.markdown``, whose words and icons are in the same module
    "skrd4ad/ui/models/list.py": ("[_caption(model) for model in found]",),
    # the name of an example of this package
    "skrd4ad/ui/models/certificates.py": (
        "f'`python {script.name} {target} part.png` prints the score and the verdict, without this program.'",
    ),
}
"""Texts that are safe for a reason that cannot be seen from them, by file."""
TOLD = {"skrd4ad.ui.models.state:tell": "message"}
"""Parameters that are shown later."""
Function = ast.FunctionDef | ast.Lambda
Known = dict[str, Callable[[], bool]]
"""Whether the arguments of a call that is followed are safe, found out where they are used."""


@dataclass(eq=False)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """Functions, classes and assignments of the module itself by name."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    found.update((each.id, node) for each in ast.walk(target) if isinstance(each, ast.Name))
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Names that come from modules of the package: module and name there."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE)
            for alias in node.names
        }

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def functions_around(self, node: ast.AST) -> list[Function]:
        """From the innermost outwards."""
        found: list[Function] = []
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                found.append(node)
        return found


@dataclass
class Program:
    """The package with its pages."""

    modules: dict[str, Module]
    shown: list[Module]
    """Those that draw."""
    trail: set[tuple[int, str]] = field(default_factory=set)

    @classmethod
    def of(cls, sources: dict[str, str]) -> "Program":
        """A program from sources by dotted names; all of them draw."""
        modules = {name: Module(name, Path(name), ast.parse(source)) for name, source in sources.items()}
        return cls(modules, list(modules.values()))

    @classmethod
    def here(cls) -> "Program":
        files = sorted((ROOT / PACKAGE).rglob("*.py"))
        modules = {}
        for path in files:
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
        return cls(modules, [each for each in modules.values() if each.name.split(".")[:2] == [PACKAGE, "ui"]])

    @cached_property
    def member_types(self) -> dict[str, list[tuple[Module, ast.expr | None]]]:
        """Annotations of fields, properties and methods of all classes, by name."""
        found: dict[str, list[tuple[Module, ast.expr | None]]] = {}
        for module in self.modules.values():
            for owner in (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)):
                for node in owner.body:
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        found.setdefault(node.target.id, []).append((module, node.annotation))
                    elif isinstance(node, ast.FunctionDef):
                        found.setdefault(node.name, []).append((module, node.returns))
        return found

    def defined(self, module: Module, name: str) -> tuple[Module, ast.stmt] | None:
        """Where a name of a module is defined in the package."""
        if name in module.definitions:
            return module, module.definitions[name]
        if name in module.imports:
            other, there = module.imports[name]
            if other in self.modules and there in self.modules[other].definitions:
                return self.modules[other], self.modules[other].definitions[there]
        return None

    def is_number(self, module: Module, annotation: ast.expr | None) -> bool:
        """Whether a type holds numbers or a few known words only."""
        match annotation:
            case None:
                return False
            case ast.Constant(value=None):
                return True
            case ast.Constant(value=str() as text):
                return self.is_number(module, ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, right=right):
                return self.is_number(module, left) and self.is_number(module, right)
            case ast.Subscript(value=ast.Name(id="Literal")):
                return True
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *_])):
                return self.is_number(module, first)
            case ast.Subscript(value=ast.Name(id="tuple" | "list" | "Sequence" | "Iterable"), slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return all(self.is_number(module, each) for each in parts if not _is_dots(each))
            case ast.Name(id=name):
                found = self.defined(module, name)
                if name in NUMBERS:
                    return True
                return (
                    found is not None and isinstance(found[1], ast.Assign) and self.is_number(found[0], found[1].value)
                )
        return False


def _is_dots(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


@dataclass
class Check:
    """One language, such as Markdown, and what is wrong with the texts that are shown in it."""

    program: Program
    language: str
    demands: dict[tuple[str, str], str] = field(default_factory=dict)
    """Parameters that are shown: function and name, and where."""
    problems: dict[str, None] = field(default_factory=dict)
    quiet: bool = False
    """Parameters are taken for unsafe, and no call is looked at for them."""

    def run(self) -> list[str]:
        """Every text from anywhere that is shown without the door, by file and line."""
        for module in self.program.shown if self.language != "figure" else self.program.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    for text in self._shown(module, node):
                        self._judge(module, text)
        if self.language == "markdown":
            self.demands.update({each: "" for each in TOLD.items() if each[0].split(":")[0] in self.program.modules})
        done: set[tuple[str, str]] = set()
        while todo := [each for each in self.demands if each not in done]:
            for demand in todo:
                done.add(demand)
                self._judge_calls(*demand)
        return sorted(self.problems)

    def _judge(self, module: Module, text: ast.expr) -> None:
        shown = module.path.relative_to(ROOT) if module.path.is_absolute() else module.path
        accepted = ACCEPTED.get(str(shown), ())
        if ast.unparse(text) not in accepted and not self.safe(module, text, {}):
            self.problems[f"{shown}:{text.lineno}: {ast.unparse(text)}"] = None

    def _judge_calls(self, function: str, parameter: str) -> None:
        home, _, name = function.rpartition(":")
        definition = self.program.modules[home].definitions[name]
        assert isinstance(definition, ast.FunctionDef)
        for module in self.program.modules.values():
            for node in ast.walk(module.tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                    continue
                found = self.program.defined(module, node.func.id)
                if found is not None and found[1] is definition:
                    given = _argument(node, definition, parameter)
                    if given is not None:
                        self._judge(module, given)

    def _shown(self, module: Module, call: ast.Call) -> Iterator[ast.expr]:
        """Arguments of a call that are read as this language."""
        if not isinstance(call.func, ast.Attribute):
            return
        method, base = call.func.attr, call.func.value
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        if self.language == "figure":
            if method in FIGURE_CALLS:
                yield from (value for name, value in given.items() if name in FIGURE_KEYWORDS)
            return
        if self.language == "html":
            if method == "html" and isinstance(base, ast.Name) and base.id == "st":
                yield from call.args[:1]
            return
        if isinstance(base, ast.Name) and base.id in ("log", "figure", "archive", "file"):
            return
        if method in ("write", "title", "image", "dialog", "error", "info") and not _of_streamlit(base):
            return
        for position in POSITIONS.get(method, ()):
            yield from call.args[position : position + 1]
        for name, value in given.items():
            if name in KEYWORDS.get(method, ()) and name != "format_func":
                yield value
        if method in ("radio", "pills", "segmented_control"):
            options = given.get("options") or next(iter(call.args[1:2]), None)
            formed = given.get("format_func")
            if formed is None:
                yield from [] if options is None else [options]
            elif isinstance(formed, ast.Lambda):
                yield formed.body
            elif isinstance(formed, ast.Attribute) and formed.attr == "__getitem__":
                yield formed.value
            elif not (isinstance(formed, ast.Name) and formed.id in DOORS[self.language]):
                yield formed

    def safe(self, module: Module, node: ast.expr, known: Known) -> bool:
        """Whether nothing from anywhere is in a text; ``known`` says it of the parameters of a function that is
        followed."""
        match node:
            case ast.Constant() | ast.Compare():
                return True
            case ast.JoinedStr(values=values):
                return all(self.safe(module, each, known) for each in values)
            case ast.FormattedValue(value=value, format_spec=spec):
                return _is_numeric(spec) or self.safe(module, value, known)
            case ast.IfExp(body=body, orelse=other):
                return self.safe(module, body, known) and self.safe(module, other, known)
            case ast.BoolOp(values=values) | ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                return all(self.safe(module, each, known) for each in values)
            case ast.BinOp(left=left, right=right):
                return self.safe(module, left, known) and self.safe(module, right, known)
            case ast.UnaryOp(operand=inner) | ast.Starred(value=inner) | ast.NamedExpr(value=inner):
                return self.safe(module, inner, known)
            case ast.Dict(values=values):
                return all(self.safe(module, each, known) for each in values)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.SetComp(elt=element):
                return self.safe(module, element, known)
            case ast.DictComp(value=value):
                return self.safe(module, value, known)
            case ast.Subscript(value=base):
                return self.safe(module, base, known)
            case ast.Lambda(body=body):
                return self.safe(module, body, known)
            case ast.Attribute(attr=name, value=base):
                types = self.program.member_types.get(name, [])
                if types and all(self.program.is_number(*each) for each in types):
                    return True
                before, self.quiet = self.quiet, True  # a field of what is given is not what is given
                try:
                    return self.safe(module, base, known)
                finally:
                    self.quiet = before
            case ast.Call():
                return self._safe_call(module, node, known)
            case ast.Name(id=name):
                return self._safe_name(module, node, name, known)
        return False

    def _safe_call(self, module: Module, call: ast.Call, known: Known) -> bool:
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(call.func, ast.Attribute):
            name, base = call.func.attr, call.func.value
            if name in ("get", "pop", "setdefault"):
                arguments = arguments[1:]  # a key is looked up, not shown
            if name in OF_BASE:
                return all(self.safe(module, each, known) for each in [base, *arguments])
            types = self.program.member_types.get(name, [])
            return bool(types) and all(self.program.is_number(*each) for each in types)
        if not isinstance(call.func, ast.Name):
            return False
        name = call.func.id
        if name in DOORS[self.language] or name in NUMERIC_CALLS:
            return True
        if name == "map":
            return self.safe(module, ast.Call(call.args[0], [], []), known) or (
                isinstance(call.args[0], ast.Name)
                and (call.args[0].id in DOORS[self.language] or all(self.safe(module, e, known) for e in call.args[1:]))
            )
        if name in OF_ARGUMENTS:
            return all(self.safe(module, each, known) for each in arguments)
        found = self.program.defined(module, name)
        if found is None:
            return False
        home, definition = found
        if isinstance(definition, ast.FunctionDef):
            given = {
                each.arg: partial(self._safe_argument, module, _argument(call, definition, each.arg), known)
                for each in _parameters(definition)
            }
            return self._returns_safe(home, definition, given)
        return isinstance(definition, ast.ClassDef) and all(self.safe(module, each, known) for each in arguments)

    def _safe_argument(self, module: Module, argument: ast.expr | None, known: Known) -> bool:
        return argument is None or self.safe(module, argument, known)

    def _returns_safe(self, module: Module, function: ast.FunctionDef, given: Known) -> bool:
        if self.program.is_number(module, function.returns):
            return True
        mark = (id(function), "returns")
        if mark in self.program.trail:
            return True  # a circle adds nothing of its own
        self.program.trail.add(mark)
        try:
            returns = [n.value for n in ast.walk(function) if isinstance(n, ast.Return | ast.Yield) and n.value]
            returns = [each for each in returns if module.functions_around(each)[0] is function]
            return bool(returns) and all(self.safe(module, each, given) for each in returns)
        finally:
            self.program.trail.discard(mark)

    def _safe_name(self, module: Module, node: ast.Name, name: str, known: Known) -> bool:
        for binding in self._bound_in_comprehension(module, node, name):
            return self._safe_binding(module, *binding, name, known)
        around = module.functions_around(node)
        for function in around:
            bindings = list(_bindings(function, name))
            if isinstance(function, ast.FunctionDef) and bindings:
                mark = (id(function), name)
                if mark in self.program.trail:
                    return True
                self.program.trail.add(mark)
                try:
                    own = next((each for each in _parameters(function) if each.arg == name), None)
                    start = own is None or self._safe_parameter(module, function, own, known)
                    return start and all(self._safe_binding(module, *each, name, known) for each in bindings)
                finally:
                    self.program.trail.discard(mark)
            own = next((each for each in _parameters(function) if each.arg == name), None)
            if own is not None:
                return self._safe_parameter(module, function, own, known)
        if name in ("__file__", "__name__") or hasattr(builtins, name):
            return True
        found = self.program.defined(module, name)
        if found is None:
            return False
        home, definition = found
        if isinstance(definition, ast.AnnAssign | ast.Assign):
            return definition.value is not None and self.safe(home, definition.value, {})
        if isinstance(definition, ast.FunctionDef):
            return self._returns_safe(home, definition, {each.arg: lambda: False for each in _parameters(definition)})
        return True

    def _safe_parameter(self, module: Module, function: Function, own: ast.arg, known: Known) -> bool:
        if self.program.is_number(module, own.annotation):
            return True
        if own.arg in known:
            return known[own.arg]()
        if (
            not self.quiet
            and isinstance(function, ast.FunctionDef)
            and module.definitions.get(function.name) is function
        ):
            self.demands.setdefault((f"{module.name}:{function.name}", own.arg), "")
            return True
        return False

    def _bound_in_comprehension(
        self, module: Module, node: ast.AST, name: str
    ) -> Iterator[tuple[ast.expr, ast.expr | None]]:
        inside: ast.AST = node
        while inside in module.parents:
            outer = module.parents[inside]
            if isinstance(outer, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
                for each in outer.generators:
                    if inside is not each.iter and any(
                        isinstance(part, ast.Name) and part.id == name for part in ast.walk(each.target)
                    ):
                        yield each.target, _elements(each.iter)
            if isinstance(outer, ast.FunctionDef | ast.Lambda):
                return
            inside = outer

    def _safe_binding(self, module: Module, target: ast.expr, value: ast.expr | None, name: str, known: Known) -> bool:
        """Whether what a target gets from a value is safe where the target names ``name``."""
        if value is None:
            return False
        if isinstance(target, ast.Tuple | ast.List):
            index = next(
                i
                for i, each in enumerate(target.elts)
                if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(each))
            )
            inner = target.elts[index]
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                return self._safe_binding(module, inner, value.elts[index], name, known)
            if isinstance(value, ast.List | ast.Tuple) and all(
                isinstance(each, ast.Tuple) and len(each.elts) == len(target.elts) for each in value.elts
            ):
                return all(
                    self._safe_binding(module, inner, each.elts[index], name, known)
                    for each in value.elts
                    if isinstance(each, ast.Tuple)
                )
        return self.safe(module, value, known)


def _parameters(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _argument(call: ast.Call, function: ast.FunctionDef, parameter: str) -> ast.expr | None:
    """What a call gives for a parameter; its default where it gives none, and None where that is not to be seen."""
    for keyword in call.keywords:
        if keyword.arg == parameter:
            return keyword.value
    names = [each.arg for each in [*function.args.posonlyargs, *function.args.args]]
    if parameter in names and names.index(parameter) < len(call.args):
        given = call.args[names.index(parameter)]
        return given.value if isinstance(given, ast.Starred) else given
    return None


def _elements(iterable: ast.expr) -> ast.expr:
    """The elements of what is gone through, as an expression: pairs of ``zip`` and ``enumerate`` one by one."""
    match iterable:
        case ast.Call(func=ast.Name(id="zip"), args=parts):
            return ast.Tuple([_elements(each) for each in parts], ast.Load())
        case ast.Call(func=ast.Name(id="enumerate"), args=[part, *_]):
            return ast.Tuple([ast.Constant(0), _elements(part)], ast.Load())
        case ast.Tuple(elts=rows) | ast.List(elts=rows) if rows and all(isinstance(row, ast.Tuple) for row in rows):
            return ast.List(rows, ast.Load())
    return iterable


def _bindings(function: Function, name: str) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Targets and values that give a name of a function what it holds; what is appended to a list counts."""
    if isinstance(function, ast.Lambda):
        return
    for node in _own_nodes(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                pairs = [(target, value) for target in targets]
            case ast.AnnAssign(target=target, value=value) if value is not None:
                pairs = [(target, value)]
            case ast.AugAssign(target=target, value=value):
                pairs = [(target, value)]
            case ast.NamedExpr(target=target, value=value):
                pairs = [(target, value)]
            case ast.For(target=target, iter=iterable):
                pairs = [(target, _elements(iterable))]
            case ast.With(items=items):
                pairs = [(item.optional_vars, None) for item in items if item.optional_vars is not None]
            case ast.ExceptHandler(name=caught) if caught == name:
                yield ast.Name(name, ast.Store()), None
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="append" | "extend"), args=[value]):
                pairs = [(ast.Name(owner, ast.Store()), value)]
            case _:
                continue
        for target, value in pairs:
            if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                target = target.value
            if isinstance(target, ast.Subscript | ast.Attribute):
                continue
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target)):
                yield target, value


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Nodes of a function without those of the functions inside it."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def _is_numeric(spec: ast.expr | None) -> bool:
    """Whether a format fits numbers or moments only."""
    if not isinstance(spec, ast.JoinedStr):
        return False
    text = "".join(part.value for part in spec.values if isinstance(part, ast.Constant))
    return "%" in text or "," in text or text[-1:] in tuple("dfeg")


def _of_streamlit(base: ast.expr) -> bool:
    """Whether a method is one of Streamlit or of a part of a page, not of a figure, a text or a file."""
    return isinstance(base, ast.Name) and base.id in ("st", "left", "right", "beside", "column", "bar")
