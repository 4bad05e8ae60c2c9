"""What the readers of all layouts share: listing sub-folders, and finding the mask of an image by its stem."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, list_images, natural_key
from skrd4ad.errors import DataError
from skrd4ad.types import GOOD, Sample, Split

GOOD_NAMES = frozenset({GOOD, "ok", "normal", "pass"})
"""Names of folders with good parts, in any letter case."""
MASK_ENDINGS = ("_mask", ".mask", "-mask", "")
"""What may follow an image's stem in the stem of its mask; the first that exists is taken."""


@dataclass(frozen=True)
class ClassFolders:
    """Which folders belong to a class, for finding what its samples leave out."""

    images: tuple[Path, ...] = ()
    masks: tuple[tuple[Path, tuple[Path, ...]], ...] = ()
    """Each folder of masks, with the folders of the images they belong to."""
    train_defects: tuple[Path, ...] = ()
    """Folders beside train/good, which are never trained on."""
    containers: tuple[Path, ...] = ()


def subfolders(folder: Path) -> list[Path]:
    """Visible folders directly in a folder, in natural order; empty if there is no such folder."""
    try:
        return sorted((p for p in folder.iterdir() if p.is_dir() and not is_hidden(p)), key=natural_key)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}). Check its permissions.") from error


def child(folder: Path, name: str) -> Path:
    """The sub-folder of that name in any letter case; the plain path when there is none."""
    return next((p for p in subfolders(folder) if p.name.casefold() == name.casefold()), folder / name)


def is_good(folder: Path) -> bool:
    """Whether a folder's name says that it holds good parts."""
    return folder.name.casefold() in GOOD_NAMES


def defect_type_of(folder: Path) -> str:
    """``good``, or the name of the defect's folder."""
    return GOOD if is_good(folder) else folder.name


def images_by_stem(folders: Iterable[Path]) -> dict[str, Path]:
    """Image files of folders by stem in lower case; an earlier folder wins. Folders that do not exist are skipped."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in list_images(folder):
                found.setdefault(path.stem.casefold(), path)
    return found


def mask_of(image: Path, masks: dict[str, Path]) -> Path | None:
    """The mask that belongs to an image, among masks by stem; never the image itself."""
    for ending in MASK_ENDINGS:
        mask = masks.get(image.stem.casefold() + ending)
        if mask is not None and mask != image:
            return mask
    return None


def image_stems_of(mask: Path) -> list[str]:
    """Stems in lower case that the image of a mask may have."""
    stem = mask.stem.casefold()
    return [stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)]


def samples_in(folder: Path, *, split: Split, masks: Iterable[Path] = ()) -> list[Sample]:
    """Samples of one folder; its name gives their label and defect type."""
    defect_type = defect_type_of(folder)
    label = int(defect_type != GOOD)
    by_stem = images_by_stem(masks) if label else {}
    return [
        Sample(path=path, split=split, label=label, defect_type=defect_type, mask_path=mask_of(path, by_stem))
        for path in list_images(folder)
    ]
