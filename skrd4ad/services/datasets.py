"""What there is to work with: data sets, their classes, and trained models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.doctor.examine import DoctorReport, examine
from skrd4ad.data.images.read import list_images
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.data.sources import EMBEDDED, open_dataset
from skrd4ad.errors import DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import inside_data_roots, workspace
from skrd4ad.services.access import needs
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels


@dataclass(frozen=True)
class EmbeddedSource:
    """A data set that needs no download."""

    source: str
    title: str
    about: str


EMBEDDED_SOURCES = (
    EmbeddedSource(
        "elpv",
        "Solar cells",
        "ELPV: real electroluminescence photographs of solar cells, good and defective (CC BY-NC-SA 4.0).",
    ),
    EmbeddedSource(
        "synthetic",
        "Synthetic",
        "Drawn parts with exact defect masks: a machined disc, a tablet blister, a woven fabric.",
    ),
)


def is_embedded(source: str) -> bool:
    """Whether a source is a data set that comes with the app."""
    return source in EMBEDDED


def classes_of(source: str, *, layout: str = "auto") -> list[DatasetClass]:
    """Classes of a data set that a user of the app may read.

    Args:
        source: ``elpv``, ``synthetic``, a data set made of labels, or a folder under one of the data roots.
        layout: one of ``skrd4ad.data.layouts.find.LAYOUTS``.

    Raises:
        DataError: the folder or one of its images is outside the data roots, or it holds no data set.
    """
    if is_embedded(source):
        return open_dataset(source)
    classes = find_classes(_readable(Path(source)), layout=layout)
    _require_inside(classes)
    return classes


def class_of(source: str, *, layout: str, class_name: str) -> DatasetClass:
    """One class of a data set that a user of the app may read.

    Raises:
        DataError: as in :func:`classes_of`, or there is no class of that name.
    """
    classes = {data.name: data for data in classes_of(source, layout=layout)}
    if class_name not in classes:
        raise DataError(f"The class {class_name} is not in {source} any more; there are: {', '.join(classes)}.")
    return classes[class_name]


def made_folder() -> Path:
    """Folder of the data sets that were made of labels; the app may read them whatever the data roots are."""
    return workspace() / "labelled"


def made_datasets() -> list[Path]:
    """Folders of the data sets that were made of labels, the newest first.

    Raises:
        StorageError: the workspace cannot be made.
    """
    try:
        found = [path for path in made_folder().iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))
    except OSError:  # none was made yet
        return []


@needs("inspector", "browse the server's folders")
def folders_in(folder: Path) -> list[Path]:
    """Sub-folders of a folder under one of the data roots, by name; without hidden ones, and links to elsewhere.

    Raises:
        DataError: the folder is outside the data roots, or cannot be listed.
    """
    allowed = inside_data_roots(folder)
    try:
        return sorted(p for p in allowed.iterdir() if p.is_dir() and not p.name.startswith(".") and _is_inside(p))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}. Choose another one.") from error


@needs("inspector", "browse the server's folders")
def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder under one of the data roots, in natural order; without links to elsewhere.

    Raises:
        DataError: the folder is outside the data roots, or cannot be listed.
    """
    return [path for path in list_images(inside_data_roots(folder)) if _is_inside(path)]


def class_of_model(info: ModelInfo) -> DatasetClass:
    """The class that a model was trained on, for its sample images.

    Raises:
        DataError: it is not known, not there any more, or outside the data roots.
    """
    source = info.data.get("source")
    if not source:
        raise DataError("Nobody knows what this model was trained on: it was imported. Upload images instead.")
    return class_of(str(source), layout=str(info.data.get("layout", "auto")), class_name=info.class_name)


def preflight(
    data: Sequence[DatasetClass],
    *,
    image_size: ImageSize | None,
    levels: Levels | None = None,
    align: Align = "auto",
    task: Task = QUIET,
) -> DoctorReport:
    """The doctor's report on classes, before training.

    Raises:
        DataError: there is nothing to examine.
    """
    return examine(data, image_size=image_size, levels=levels, align=align, task=task)


def require_sound(report: DoctorReport, *, advice: str, insist: bool = False) -> None:
    """Refuse data that would train or measure wrongly; ``advice`` says how it is done all the same, ``insist`` that
    what the doctor only asks about is meant so.

    Raises:
        DataError: the report names errors.
    """
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors and not (insist and report.only_asks):
        lines = (f"  {e.class_name}: {e.message}" + (f" ({e.paths[0]})" if e.paths else "") for e in errors)
        raise DataError(
            "\n".join(["Training or its figures would be wrong:", *lines, f"`skrd4ad doctor` says more; {advice}"])
        )


def _readable(path: Path) -> Path:
    """A path with links resolved, when the app may read it."""
    resolved = path.expanduser().resolve()
    return resolved if resolved.is_relative_to(made_folder()) else inside_data_roots(path)


def _is_inside(path: Path) -> bool:
    try:
        _readable(path)
    except DataError:
        return False
    return True


def _require_inside(classes: Sequence[DatasetClass]) -> None:
    files = {path for data in classes for sample in data.samples for path in (sample.path, *sample.masks)}
    # few folders and links stand for many files
    for path in sorted({file.parent for file in files} | {file for file in files if file.is_symlink()}):
        if not _is_inside(path):
            raise DataError(
                f"{path} leads outside the folders this app may read. Put the images themselves there, or start the "
                "app with SKRD4AD_DATA_ROOTS naming their folder."
            )
