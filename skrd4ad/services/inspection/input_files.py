"""Which image files are meant by files and folders, and how their results are named."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, is_image, natural_key
from skrd4ad.errors import ConfigError

MOST_BYTES = 200
"""Of a name for results: a file's name may have 255, with what is added and while it is written."""


def expand_inputs(paths: Iterable[Path], *, leave_out: Path | None = None) -> list[Path]:
    """Image files of files and folders, each once, in natural order; folders with their sub-folders but ``leave_out``.

    A file that is named stays, whatever it is, and so does a folder without images: inspecting it tells what is wrong.
    """
    skipped = None if leave_out is None else leave_out.resolve()
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir() and path.resolve() == skipped:
            raise ConfigError(f"The results cannot go to {path}, which is one of the inputs; choose another folder.")
        for file in (_images_below(path, skipped) or [path]) if path.is_dir() else [path]:
            found.setdefault(file.absolute(), file)
    return list(found.values())


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each file, without suffix; no two are equal, even where letter case does not count.

    The stems, when they are all different; otherwise the paths below the folder that holds all the files.
    """
    names = [path.stem for path in paths]
    if len({name.casefold() for name in names}) < len(names):
        absolute = [path.absolute() for path in paths]
        # what is not there gets no results, and must not move those of the others
        top = os.path.commonpath([path.parent for path in absolute if path.is_file()] or [Path("/")])
        names = [
            (path.parent.relative_to(top) / path.stem).as_posix() if path.is_relative_to(top) else path.stem
            for path in absolute
        ]
    return distinct(names)


def distinct(names: Iterable[str]) -> list[str]:
    """Names, cut to ``MOST_BYTES``, with a number added where one came before, letter case not counting."""
    taken: set[str] = set()
    different = []
    for given in names:
        folder, slash, plain = given.rpartition("/")
        while len(plain.encode(errors="replace")) > MOST_BYTES:
            plain = plain[:-1]
        plain = name = folder + slash + plain
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        different.append(name)
    return different


def _images_below(folder: Path, skipped: Path | None) -> list[Path]:
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        inside = Path(here)
        kept = (inside / name for name in folders)
        ordered = sorted((p for p in kept if not is_hidden(p) and p.resolve() != skipped), key=natural_key)
        folders[:] = [path.name for path in ordered]
        found += sorted((inside / name for name in files if is_image(Path(name))), key=natural_key)
    return found
