"""Opening a data set by what a user names: an embedded one, or a folder."""

from pathlib import Path

from skrd4ad.data.elpv import data_folder, elpv_classes
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.data.synthetic.write import is_drawn, synthetic_classes
from skrd4ad.errors import DataError
from skrd4ad.types import DatasetClass

EMBEDDED = {"elpv": elpv_classes, "synthetic": synthetic_classes}
"""Data sets that come with the program; a folder of such a name is given as ``./elpv``."""


def opens_at_once(source: str) -> bool:
    """Whether a data set is there; the synthetic one is drawn when it is opened for the first time."""
    return source != "synthetic" or is_drawn()


def embedded_file(source: str, name: str) -> Path | None:
    """A file of an embedded data set by its path below the root; None where the set is not installed, or drawn anew."""
    try:
        return data_folder() / name if source == "elpv" else None
    except DataError:
        return None


def open_dataset(source: str | Path, *, layout: str = "auto", class_name: str | None = None) -> list[DatasetClass]:
    """Classes of an embedded data set (``elpv``, ``synthetic``) or of a folder; all, or the one named.

    Raises:
        DataError: there is no class of that name, or the data set cannot be read; LayoutError for a folder without one.
    """
    embedded = EMBEDDED.get(source) if isinstance(source, str) else None
    if embedded is not None:
        classes = embedded()
    elif str(source).strip():
        classes = find_classes(Path(source), layout=layout)
    else:
        raise DataError(f"No data set is named. Give a folder, or one of: {', '.join(EMBEDDED)}.")
    if class_name in (None, "all"):
        return classes
    chosen = [cls for cls in classes if cls.name == class_name]
    if not chosen:
        names = ", ".join(cls.name for cls in classes)
        raise DataError(f"The class is {class_name!r}; {source} has: {names}. Name one of them, or all.")
    return chosen
