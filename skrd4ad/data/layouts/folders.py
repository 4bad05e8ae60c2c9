"""What the readers of all layouts share: what the name of a folder says, and the images below it."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, list_images, natural_key
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.errors import DataError
from skrd4ad.types import GOOD, Remark, Sample, Split

GOOD_WORDS = frozenset(
    {
        *(GOOD, "ok", "okay", "normal", "pass", "passed", "negative", "defectfree", "nodefect", "nodefects"),
        *("nondefective", "nondefect", "anomalyfree", "flawless", "faultfree", "accept", "accepted"),
        *("io", "gut", "gutteil", "gutteile", "fehlerfrei", "bon", "bonne", "bonnes", "conforme", "buono", "buoni"),
        *("bueno", "buenos", "bom", "bons", "goed", "bra", "dobry", "dobre", "хорошо", "годен", "норма", "годные"),
        *("正常", "良品", "良", "合格", "合格品", "ok品", "無欠陥", "无缺陷", "양품", "정상", "합격"),
    }
)
"""Names of folders of good parts, in any letter case, without what is neither a letter nor a digit."""
MASK_WORDS = frozenset(
    {
        *("mask", "masks", "groundtruth", "groundtruths", "gt", "gts", "label", "labels", "labelmask", "labelmasks"),
        *("annotation", "annotations", "anno", "annos", "seg", "segs", "segm", "segmentation", "segmentations"),
        *("segmask", "segmasks", "segmentationclass", "segmentationmask", "segmentationmasks", "maske", "masken"),
        *("masque", "masques", "mascara", "mascaras", "maschera", "maschere", "掩码", "掩膜", "マスク", "마스크"),
    }
)
"""Names of folders of masks, likewise."""
GUESSED = "guessed"
"""Code of the remark on what names of folders were read as."""
RGB = "rgb"
"""A folder of colour images beside others of the same parts, such as depth: only this one is read."""
_OUTPUT_FILES = ("*_map.npy", "model.safetensors", "skrd4ad.db", "evaluation.json")
"""What this program writes and no data set holds."""


def plain_name(name: str) -> str:
    """A name in lower case and in one width, its letters and digits alone: ``i.O.`` and ``IO`` are one."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


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


def is_good(folder: Path, hints: Hints = Hints()) -> bool:  # noqa: B008 - frozen
    """Whether a folder's name says that it holds good parts: a word for it, alone or at the beginning."""
    if hints.good:
        return plain_name(folder.name) in {plain_name(name) for name in hints.good}
    words = re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", folder.name).casefold())
    return any("".join(words[:count]) in GOOD_WORDS for count in range(1, len(words) + 1))


def is_mask_folder(folder: Path, hints: Hints = Hints()) -> bool:  # noqa: B008 - frozen
    """Whether a folder's name says that it holds masks."""
    name = plain_name(folder.name)
    return name in {plain_name(each) for each in hints.masks} or (name in MASK_WORDS and not is_good(folder, hints))


def is_own_output(folder: Path) -> bool:
    """Whether a folder holds what this program wrote: results, models, evaluations, a workspace."""
    return any(next(folder.glob(pattern), None) is not None for pattern in _OUTPUT_FILES)


def defect_type_of(folder: Path, hints: Hints = Hints()) -> str:  # noqa: B008 - frozen
    """``good``, or the name of the defect's folder."""
    return GOOD if is_good(folder, hints) else folder.name


def kinds_in(folder: Path, hints: Hints) -> list[Path]:
    """Folders of good parts and of types of defect, good ones first. A folder that holds such folders, as those of
    cameras and videos do, stands for them."""
    kinds: list[Path] = []
    for each in subfolders(folder):
        inner = [p for p in subfolders(each) if is_good(p, hints)]
        if is_mask_folder(each, hints) or is_own_output(each):
            continue
        kinds += kinds_in(each, hints) if inner and not is_good(each, hints) else [each]
    return sorted(kinds, key=lambda p: not is_good(p, hints))


def images_below(folder: Path, hints: Hints) -> list[Path]:
    """Pictures in a folder and the folders in it, in natural order; without masks, other channels, and own output."""
    inner = [p for p in subfolders(folder) if not is_mask_folder(p, hints) and not is_own_output(p)]
    inner = [p for p in inner if p.name.casefold() == RGB] or inner
    return [*list_images(folder), *(image for p in inner for image in images_below(p, hints))]


def all_images(folder: Path) -> Iterator[Path]:
    """Every image file below a folder, whatever it shows; none when there is no such folder."""
    if folder.is_dir():
        yield from list_images(folder)
    for inner in subfolders(folder):
        yield from all_images(inner)


def mask_files(folder: Path, hints: Hints) -> list[Path]:
    """Image files in folders of masks anywhere below a folder."""
    found: list[Path] = []
    for inner in subfolders(folder):
        if not is_own_output(inner):
            found += all_images(inner) if is_mask_folder(inner, hints) else mask_files(inner, hints)
    return found


def images_by_stem(folders: Iterable[Path]) -> dict[str, Path]:
    """Image files of folders by stem in lower case; an earlier folder wins. Folders that do not exist are skipped."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in list_images(folder):
                found.setdefault(path.stem.casefold(), path)
    return found


def samples_in(folder: Path, *, split: Split, hints: Hints) -> list[Sample]:
    """Samples of one folder and the folders in it; its name gives their label and defect type."""
    defect_type = defect_type_of(folder, hints)
    label = int(defect_type != GOOD)
    return [
        Sample(path=path, split=split, label=label, defect_type=defect_type) for path in images_below(folder, hints)
    ]


def guess_remark(*, good: Iterable[str], defects: Iterable[str] = (), masks: Iterable[str] = ()) -> Remark:
    """Which names of folders were read as what."""
    told = (("good parts", good), ("types of defect", defects), ("masks", masks))
    parts = [f"as {what}: {', '.join(sorted(names))}" for what, names in told if names]
    return Remark("note", GUESSED, f"read by their names {'; '.join(parts)}. --good NAME and --masks NAME say it.")
