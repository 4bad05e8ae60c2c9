"""The models a user keeps: finding, naming, archiving, deleting, and bringing them in from files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skrd4ad.config import ModelConfig
from skrd4ad.errors import CheckpointError
from skrd4ad.export.carried import require_sound_graph
from skrd4ad.export.manifest import EXPORTS
from skrd4ad.files import remove_folder, temporary_folder
from skrd4ad.inference.reference import read_reference
from skrd4ad.model_folder.bundle import ImportedBundle, bundle_name, import_bundle, write_bundle
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import ModelMetadata, change_metadata, read_metadata, title_of
from skrd4ad.models.installed import require_torch
from skrd4ad.paths import checkpoints, workspace
from skrd4ad.services.access import needs
from skrd4ad.services.history import record
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.models.list import BrokenModel, list_models
from skrd4ad.storage import watched_folders
from skrd4ad.storage.database import workspace_database
from skrd4ad.task import QUIET, Task


@dataclass(frozen=True, kw_only=True)
class LibraryModel:
    """A model, and what people say of it."""

    info: ModelInfo
    about: ModelMetadata

    @property
    def title(self) -> str:
        """The name people gave it, or one line on what it is."""
        return title_of(self.info, self.about)

    @property
    def search_text(self) -> str:
        """All that a search looks through, in lower case."""
        info, about = self.info, self.about
        texts = (about.name, about.note, about.imported, info.title, info.dataset, info.origin, info.digest)
        return "\n".join(texts).casefold()


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What goes when a model is deleted, for the question before."""

    title: str
    folder: Path
    files: int
    size: int
    exports: tuple[str, ...]


def list_library(
    root: Path | None = None, *, search: str = "", archived: bool = False
) -> tuple[list[LibraryModel], list[BrokenModel]]:
    """Models, newest first in each class, and folders that are damaged.

    ``search`` holds words that must all occur in a model's name, note, title, data set, origin or digest, in any case.
    """
    infos, broken = list_models(root, archived=True)
    models = [LibraryModel(info=info, about=read_metadata(info.folder)) for info in infos]
    shown = [model for model in models if archived or not model.about.archived]
    words = search.casefold().split()
    return [model for model in shown if all(word in model.search_text for word in words)], broken


@needs("engineer", "rename a model")
def rename_model(folder: Path, name: str) -> ModelMetadata:
    """Give a model a name to be shown; an empty one brings its title back. Its folder keeps its own."""
    own = _own(folder)
    before = read_metadata(own).name
    about = change_metadata(own, name=name)
    record("renamed", read_info(own), details={"name": about.name, "before": before})
    return about


@needs("engineer", "note something on a model")
def note_model(folder: Path, note: str) -> ModelMetadata:
    """Keep a note beside a model; an empty one removes it."""
    own = _own(folder)
    about = change_metadata(own, note=note)
    record("noted", read_info(own), details={"note": about.note})
    return about


@needs("engineer", "archive a model")
def archive_model(folder: Path, *, archived: bool = True) -> ModelMetadata:
    """Keep a model, but offer it no more where one is chosen; or offer it again."""
    own = _own(folder)
    about = change_metadata(own, archived=archived)
    record("archived" if archived else "unarchived", read_info(own))
    return about


def card_of(model: LibraryModel) -> str:
    """The card of a model, Markdown, as the model is now and with what people say of it."""
    return model_card(model.info, name=model.about.name, note=model.about.note)


def jobs_using(folder: Path) -> list[JobView]:
    """Jobs that wait or run and need a model folder, as far as their requests tell."""
    wanted = folder.resolve()
    return [job for job in queue().active() if wanted in set(_paths_in(job.request))]


def watched_for(folder: Path) -> list[str]:
    """Folders that are watched for a model: what comes into them is judged by it."""
    wanted = folder.resolve()
    with workspace_database().read() as session:
        watches = watched_folders.all_watches(session, active=True)
        return [watch.folder for watch in watches if Path(watch.model_folder).resolve() == wanted]


def what_goes(folder: Path) -> Deletion:
    """What deleting a model would delete, for the question before."""
    own = _own(folder)
    files = [path for path in own.rglob("*") if path.is_file()]
    exports = own / EXPORTS
    try:
        title = title_of(read_info(own), read_metadata(own))
    except CheckpointError:  # damaged models are deleted too
        title = own.name
    return Deletion(
        title=title,
        folder=own,
        files=len(files),
        size=sum(path.stat().st_size for path in files),
        exports=tuple(sorted(path.name for path in exports.iterdir())) if exports.is_dir() else (),
    )


@needs("admin", "delete a model")
def delete_model(folder: Path) -> None:
    """Delete a model folder with all that is in it. Nothing brings it back.

    Evaluations, labels and reviews made with it stay. Folders that were watched for it once leave the list. A model
    that a job or a watched folder needs is not deleted.
    """
    own = _own(folder)
    if jobs := jobs_using(own):
        titles = ", ".join(job.title for job in jobs)
        raise CheckpointError(f"{own} is needed by a job that runs or waits ({titles}). Cancel it, or wait for it.")
    if watched := watched_for(own):
        raise CheckpointError(
            f"{own} judges what comes into {', '.join(watched)}. Stop watching on the Label page first."
        )
    try:
        info, title = read_info(own), what_goes(own).title
    except CheckpointError:  # damaged models are deleted too
        info, title = None, own.name
    try:
        remove_folder(own)
    except OSError as error:
        raise CheckpointError(f"{own} cannot be deleted: {error.strerror or error}.") from error
    with workspace_database().write() as session:
        for watch in watched_folders.all_watches(session, active=False):
            if Path(watch.model_folder) == own:
                watched_folders.forget_watch(session, watch.id)
    record("deleted", info, folder=own, details={"title": title})


@needs("engineer", "export a model")
def bundle_of(folder: Path) -> tuple[str, bytes]:
    """A model as one file for download: its name, and its bytes."""
    own = _own(folder)
    info = read_info(own)
    with temporary_folder(workspace()) as scratch:
        file = scratch / bundle_name(info)
        write_bundle(own, file)
        content = file.read_bytes()
    record("exported", info, details={"format": "bundle", "file": file.name})
    return file.name, content


@needs("engineer", "import a model")
def import_model_bundle(source: Path | bytes, *, name: str | None = None, out: Path | None = None) -> ImportedBundle:
    """A model folder from a bundle or its bytes, or the one that is there already with the same content. ``name``: of
    the file; needed with bytes. ``out``: folder of the model folders; None for the usual one."""
    found = import_bundle(source, out=out or checkpoints(), name=name, validate=_require_sound)
    if not found.existed:
        record("imported", found.info, details={"file": name or str(Path(str(source)).absolute())})
    return found


@needs("engineer", "import a model")
def import_uploaded_checkpoint(
    name: str,
    content: bytes,
    *,
    model: ModelConfig,
    dataset: str,
    class_name: str | None = None,
    weights: Path | None = None,
    task: Task = QUIET,
) -> ModelInfo:
    """A model folder from an uploaded checkpoint of the original code; it has no thresholds.

    ``model`` says what the checkpoint is of: the file tells neither ``res`` nor the image size. The class is called as
    the file without suffix when ``class_name`` is None.
    """
    require_torch("Importing a checkpoint")
    from skrd4ad.model_folder.rd4ad import import_rd4ad

    with temporary_folder(workspace()) as scratch:
        file = scratch / (Path(name).name or "checkpoint.pth")
        file.write_bytes(content)
        try:
            info = import_rd4ad(
                file,
                model=model,
                out=checkpoints(),
                dataset=dataset.strip() or "imported",
                class_name=(class_name or "").strip() or None,
                weights=weights,
                task=task,
            )
        except CheckpointError as error:  # who dropped the file knows it by its name alone
            raise CheckpointError(str(error).replace(str(file), file.name)) from error
    record("imported", info, details={"file": name})
    return info


def _require_sound(folder: Path) -> None:
    """What a bundle brings besides its weights, checked before it is a model."""
    read_reference(folder)
    require_sound_graph(folder)


def _own(folder: Path) -> Path:
    """A model folder of the library by its path; never one elsewhere, whatever the caller was told."""
    wanted = folder.absolute()
    if wanted.is_symlink() or wanted not in set(find_models(checkpoints())):
        raise CheckpointError(f"{folder} is no model in {checkpoints()}; it may have been deleted or moved.")
    return wanted


def _paths_in(value: Any) -> Iterator[Path]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _paths_in(each)
    elif isinstance(value, str) and "/" in value:
        yield Path(value).resolve()
