"""The way of an image through the package is one direction, and the imports keep to it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "skrd4ad"
LONGEST = 350
MOST_MODULES = 16
"""In one folder, its ``__init__`` not counted."""

FOR_ALL = {
    "errors",
    "types",
    "config",
    "paths",
    "scratch",
    "files",
    "format",
    "parallel",
    "task",
    "documents",
    "digests",
}
LEAVES = {"metrics", "storage", "visualize", "regions"}
_INFERENCE = FOR_ALL | LEAVES - {"storage"} | {"data", "models", "losses", "anomaly_map", "model_folder"}
_SERVICES = _INFERENCE | {"storage", "inference", "training", "export"}
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(FOR_ALL, FOR_ALL),
    "metrics": {"errors", "types", "scratch", "format", "task"},
    "visualize": {"errors", "types"},
    "regions": {"errors", "types"},
    "storage": FOR_ALL,
    "data": FOR_ALL,
    "models": FOR_ALL | {"data"},
    "losses": FOR_ALL | {"data", "models"},
    "anomaly_map": FOR_ALL | {"data", "models"},
    "model_folder": FOR_ALL | {"metrics", "regions", "data", "models", "losses", "anomaly_map"},
    "inference": _INFERENCE,
    "training": _INFERENCE | {"inference"},
    "export": _INFERENCE | {"inference"},
    "services": _SERVICES,
    "ui": _SERVICES | {"services", "serve"},
    "serve": _SERVICES | {"services"},
    "cluster": _SERVICES | {"services"},
    "cli": _SERVICES | {"services", "serve", "cluster"},
    "api": _SERVICES | {"services"},
    "__main__": {"cli"},
}
"""What a subject (module or folder directly in the package) may import, besides itself."""


def imports_of(source: str, *, package: str) -> set[str]:
    """Dotted names that a module imports anywhere in it, also inside functions; ``package`` resolves relative ones."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def subject_of(name: str) -> str | None:
    """``models`` of ``skrd4ad.models.skrd``; None of anything outside the package, and of the package itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 and not parts[1].startswith("__version") else None


def problems_of(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of a module of the package, in words."""
    subject = subject_of(module)
    package = module if is_package else module.rpartition(".")[0]
    names = imports_of(source, package=package)
    problems = []
    if subject is not None:
        if subject not in MAY_IMPORT:
            return [f"{module}: {subject} has no place in the direction; give it one in MAY_IMPORT"]
        used = {found for name in names if (found := subject_of(name)) is not None}
        problems += [
            f"{module} imports {other}, against the direction"
            for other in sorted(used - MAY_IMPORT[subject] - {subject})
        ]
    if subject != "ui" and any(name.split(".")[0] == "streamlit" for name in names):
        problems.append(f"{module} imports streamlit, which only {PACKAGE}/ui may")
    return problems


def page_problems(module: str, source: str) -> list[str]:
    """What is wrong with the imports of a module of the app, in words."""
    roots = {name.split(".")[0] for name in imports_of(source, package="")}
    return [f"{module} imports {name}; a page calls a service" for name in ("sqlalchemy", "torch") if name in roots]


def modules() -> dict[str, Path]:
    """Modules of the package by their dotted names."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    parts = {path: path.relative_to(ROOT).with_suffix("").parts for path in files}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in parts.items()}


def pages() -> list[Path]:
    ui = ROOT / PACKAGE / "ui"
    return [ROOT / "app.py", ui / "app.py", *sorted((ui / "routes").glob("*.py"))]


def test_every_import_follows_the_direction() -> None:
    found = [
        problem
        for name, path in modules().items()
        for problem in problems_of(name, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


def circles_of(imports: dict[str, set[str]]) -> list[set[str]]:
    """Groups of names that reach each other; ``imports`` names what each imports."""
    reached: dict[str, set[str]] = {}
    for start in imports:
        found: set[str] = set()
        todo = [*imports[start]]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += imports.get(name, ())
        reached[start] = found
    groups = {frozenset({name} | {o for o in reached[name] if name in reached.get(o, ())}) for name in imports}
    return [set(group) for group in groups if len(group) > 1]


def module_imports() -> dict[str, set[str]]:
    """Modules of the package that each of its modules imports, anywhere in it."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = imports_of(path.read_text(encoding="utf-8"), package=package)
        graph[name] = {n if n in known else n.rpartition(".")[0] for n in found} & set(known) - {name}
    return graph


def test_no_module_imports_itself_through_others() -> None:
    assert circles_of(module_imports()) == []


def test_no_folder_of_the_services_imports_itself_through_others() -> None:
    folders: dict[str, set[str]] = {}
    for name, imported in module_imports().items():
        mine = service_folder(name)
        if mine is not None:
            folders.setdefault(mine, set()).update({f for n in imported if (f := service_folder(n))} - {mine})
    assert circles_of(folders) == []


def service_folder(module: str) -> str | None:
    """``inspection`` of ``skrd4ad.services.inspection.verdict``; None outside the folders of the services."""
    parts = module.split(".")
    return parts[2] if parts[:2] == [PACKAGE, "services"] and len(parts) > 3 else None


def test_a_planted_circle_is_found() -> None:
    assert circles_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def crowded(files: list[str]) -> list[str]:
    """Folders with too many modules, and modules that repeat their folder's name, in words."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        if name != "__init__.py":
            folders.setdefault(folder, []).append(name.removesuffix(".py"))
    problems = [f"{f} holds {len(names)} modules" for f, names in folders.items() if len(names) > MOST_MODULES]
    for folder, names in folders.items():
        own = folder.rpartition("/")[2]
        stems = {own, own.removesuffix("s")}
        problems += [f"{folder}/{n} repeats its folder's name" for n in names if n in stems or n.split("_")[0] in stems]
    return problems


def test_folders_are_small_and_names_do_not_repeat_them() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in modules().values()]
    assert crowded([file for file in files if "/versions/" not in file]) == []


@pytest.mark.parametrize(
    "files",
    [
        [f"skrd4ad/ui/{n}.py" for n in range(17)],
        ["skrd4ad/ui/label/label_list.py"],
        ["skrd4ad/services/jobs/job_view.py"],
    ],
)
def test_a_crowded_folder_and_a_repeated_name_are_found(files: list[str]) -> None:
    assert len(crowded(files)) == 1


def test_pages_know_neither_networks_nor_tables() -> None:
    found = [problem for path in pages() for problem in page_problems(path.name, path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_streamlit_is_nowhere_else_in_the_repository() -> None:
    # they drive the app's pages from outside, as the tests do
    drivers = {ROOT / "benchmarks" / name for name in ("light.py", "responsiveness.py")}
    elsewhere = [ROOT / "main.py", *sorted({*(ROOT / "benchmarks").glob("*.py")} - drivers)]
    found = [
        problem
        for path in elsewhere
        if path.is_file()
        for problem in problems_of(path.stem, path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_no_module_is_too_long_to_read() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    too_long = {name: length for name, length in lengths.items() if length > LONGEST}
    assert not too_long


def test_the_modules_are_really_found() -> None:
    assert {"skrd4ad", "skrd4ad.training.train", "skrd4ad.data", "skrd4ad.errors"} <= set(modules())


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("skrd4ad.data.images.read", "from skrd4ad.models.skrd import Student"),
        ("skrd4ad.data.images.read", "import skrd4ad.training.train"),
        ("skrd4ad.data.images.read", "from skrd4ad import losses"),
        ("skrd4ad.data.images.read", "from ...training import train"),
        ("skrd4ad.data.images.read", "def f():\n    from skrd4ad.services.jobs.queue import queue"),
        ("skrd4ad.models.skrd", "from skrd4ad.losses import total_loss"),
        ("skrd4ad.models.skrd", "from skrd4ad.metrics.aupro import aupro"),
        ("skrd4ad.losses", "from skrd4ad.anomaly_map import level_maps"),
        ("skrd4ad.anomaly_map", "from skrd4ad.inference import predict"),
        ("skrd4ad.training.train", "from skrd4ad.services.jobs.queue import queue"),
        ("skrd4ad.model_folder.folder", "from skrd4ad.inference.predict import Predictor"),
        ("skrd4ad.inference.predict", "from skrd4ad.training.train import train"),
        ("skrd4ad.export.convert", "from skrd4ad.training.train import train"),
        ("skrd4ad.training.train", "if TYPE_CHECKING:\n    from skrd4ad.ui import theme"),
        ("skrd4ad.services.jobs.queue", "from skrd4ad.cli.train import main"),
        ("skrd4ad.ui.theme", "from skrd4ad.cli.output import show"),
        ("skrd4ad.cli.train", "from skrd4ad.ui.theme import COLOURS"),
        ("skrd4ad.metrics.aupro", "from skrd4ad.config import ModelConfig"),
        ("skrd4ad.metrics.aupro", "from skrd4ad.data.images.read import read_mask"),
        ("skrd4ad.storage.history", "from skrd4ad.model_folder.folder import ModelInfo"),
        ("skrd4ad.visualize", "from skrd4ad.model_folder.calibration import Calibration"),
        ("skrd4ad.regions", "from skrd4ad.metrics.aupro import aupro"),
        ("skrd4ad.errors", "from skrd4ad.data.images.read import read_image"),
        ("skrd4ad.config", "from skrd4ad.models.backbones import teacher_spec"),
        ("skrd4ad.helpers", "import json"),
        ("skrd4ad.services.jobs.queue", "import streamlit as st"),
        ("skrd4ad.training.train", "from streamlit.runtime import get_instance"),
        ("skrd4ad", "import streamlit"),
        ("main", "import streamlit"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert len(problems_of(module, source)) == 1


def test_relative_imports_of_a_package_are_resolved_from_the_package_itself() -> None:
    assert problems_of("skrd4ad.data", "from . import images", is_package=True) == []
    assert problems_of("skrd4ad.data", "from ..models import skrd", is_package=True) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "skrd4ad.training.train",
            "import torch\nfrom skrd4ad.models.skrd import Student\nfrom skrd4ad.losses import x",
        ),
        ("skrd4ad.model_folder.folder", "import skrd4ad\nfrom skrd4ad import __version__"),
        ("skrd4ad.services.training", "from skrd4ad.storage import runs\nfrom skrd4ad.training import train"),
        ("skrd4ad.ui.theme", "import streamlit as st\nfrom skrd4ad.services import jobs"),
        ("skrd4ad.paths", "from skrd4ad.errors import DataError"),
        ("skrd4ad.storage.history", "from skrd4ad.paths import workspace\nimport sqlalchemy"),
        ("skrd4ad.data.images.read", "import streamlit_but_not_really"),
    ],
)
def test_imports_along_the_direction_are_fine(module: str, source: str) -> None:
    assert problems_of(module, source) == []


@pytest.mark.parametrize("source", ["import torch", "from torch import nn", "from sqlalchemy.orm import Session"])
def test_a_page_that_reaches_past_the_services_is_found(source: str) -> None:
    assert len(page_problems("train.py", source)) == 1
    assert page_problems("train.py", "import streamlit as st\nfrom skrd4ad.services import jobs") == []
