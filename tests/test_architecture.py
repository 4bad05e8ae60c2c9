"""The way of an image through the package is one direction, and the imports keep to it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "skrd4ad"
LONGEST = 350

FOR_ALL = {"errors", "types", "config", "paths", "scratch"}
LEAVES = {"metrics", "storage", "visualize", "regions"}
_ENGINE = FOR_ALL | LEAVES | {"data", "models", "losses", "anomaly_map"}
_SERVICES = _ENGINE | {"engine"}
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(FOR_ALL, FOR_ALL),
    "metrics": {"errors", "types", "scratch"},
    "visualize": {"errors", "types"},
    "regions": {"errors", "types"},
    "storage": FOR_ALL,
    "data": FOR_ALL,
    "models": FOR_ALL | {"data"},
    "losses": FOR_ALL | {"data", "models"},
    "anomaly_map": FOR_ALL | {"data", "models"},
    "engine": _ENGINE,
    "services": _SERVICES,
    "ui": _SERVICES | {"services"},
    "cli": _SERVICES | {"services"},
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
        problems.append(f"{module} imports streamlit, which only app.py, pages and {PACKAGE}/ui may")
    return problems


def page_problems(module: str, source: str) -> list[str]:
    """What is wrong with the imports of a page or of the app, in words."""
    roots = {name.split(".")[0] for name in imports_of(source, package="")}
    return [f"{module} imports {name}; a page calls a service" for name in ("sqlalchemy", "torch") if name in roots]


def modules() -> dict[str, Path]:
    """Modules of the package by their dotted names."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    parts = {path: path.relative_to(ROOT).with_suffix("").parts for path in files}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in parts.items()}


def pages() -> list[Path]:
    return [path for path in (ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))) if path.is_file()]


def test_every_import_follows_the_direction() -> None:
    found = [
        problem
        for name, path in modules().items()
        for problem in problems_of(name, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


def test_pages_know_neither_networks_nor_tables() -> None:
    found = [problem for path in pages() for problem in page_problems(path.name, path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_streamlit_is_nowhere_else_in_the_repository() -> None:
    elsewhere = [ROOT / "main.py", *sorted((ROOT / "benchmarks").glob("*.py"))]
    # it drives the app's pages from outside, as the tests do
    elsewhere.remove(ROOT / "benchmarks" / "responsiveness.py")
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
        ("skrd4ad.data.images.read", "from ..engine import train"),
        ("skrd4ad.data.images.read", "def f():\n    from skrd4ad.services.jobs.queue import queue"),
        ("skrd4ad.models.skrd", "from skrd4ad.losses import total_loss"),
        ("skrd4ad.models.skrd", "from skrd4ad.metrics.aupro import aupro"),
        ("skrd4ad.losses", "from skrd4ad.anomaly_map import level_maps"),
        ("skrd4ad.anomaly_map", "from skrd4ad.engine import predict"),
        ("skrd4ad.training.train", "from skrd4ad.services.jobs.queue import queue"),
        ("skrd4ad.training.train", "if TYPE_CHECKING:\n    from skrd4ad.ui import theme"),
        ("skrd4ad.services.jobs.queue", "from skrd4ad.cli.train import main"),
        ("skrd4ad.ui.theme", "from skrd4ad.cli.output import show"),
        ("skrd4ad.cli.train", "from skrd4ad.ui.theme import COLOURS"),
        ("skrd4ad.metrics.aupro", "from skrd4ad.config import ModelConfig"),
        ("skrd4ad.metrics.aupro", "from skrd4ad.data.images.read import read_mask"),
        ("skrd4ad.storage.runs", "from skrd4ad.model_folder.folder import ModelInfo"),
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
        ("skrd4ad.services.training", "from skrd4ad.storage import runs\nfrom skrd4ad.engine import train"),
        ("skrd4ad.ui.theme", "import streamlit as st\nfrom skrd4ad.services import jobs"),
        ("skrd4ad.paths", "from skrd4ad.errors import DataError"),
        ("skrd4ad.storage.runs", "from skrd4ad.paths import workspace\nimport sqlalchemy"),
        ("skrd4ad.data.images.read", "import streamlit_but_not_really"),
    ],
)
def test_imports_along_the_direction_are_fine(module: str, source: str) -> None:
    assert problems_of(module, source) == []


@pytest.mark.parametrize("source", ["import torch", "from torch import nn", "from sqlalchemy.orm import Session"])
def test_a_page_that_reaches_past_the_services_is_found(source: str) -> None:
    assert len(page_problems("train.py", source)) == 1
    assert page_problems("train.py", "import streamlit as st\nfrom skrd4ad.services import jobs") == []
