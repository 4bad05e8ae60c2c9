"""From a folder to its classes and samples, whatever the layout."""

from pathlib import Path

from skrd4ad.data.images.read import is_hidden, list_images
from skrd4ad.data.layouts import mvtec, own, visa
from skrd4ad.data.layouts.folders import ClassFolders, subfolders
from skrd4ad.errors import LayoutError
from skrd4ad.types import DatasetClass

_NEEDS = {
    "mvtec": "CLASS/train/good and CLASS/test/{good,DEFECT}, with masks in CLASS/ground_truth/DEFECT/NAME_mask.png; "
    "one class folder by itself will do",
    "visa": "CLASS/Data/Images/{Normal,Anomaly} and split_csv/1cls.csv",
    "visa-mvtec": "VisA converted to the mvtec layout: the same folders",
    "vad": "train/{good,bad} and test/{good,bad}",
    "folder": "good images directly in the folder; or a sub-folder named good, ok, normal or pass beside sub-folders "
    "of defects, with masks in ground_truth/DEFECT, in masks/DEFECT, or beside the images as NAME_mask.png",
}
LAYOUTS = ("auto", *_NEEDS)
_MAX_NAMES = 8


def find_classes(root: Path, *, layout: str = "auto") -> list[DatasetClass]:
    """Classes of the data set in a folder, sorted by name.

    ``auto`` takes the first that fits of: visa (``Data/Images`` or the split file is there), vad (``train`` holds
    exactly good and bad, and no masks are there), mvtec (the folder is one class, or holds classes), folder.
    """
    if layout not in LAYOUTS:
        raise LayoutError(f"The layout is {layout!r}; allowed: {', '.join(LAYOUTS)}.")
    root = _existing_folder(root)
    kind = _detect(root) if layout == "auto" else layout
    classes = _read(root, kind) if kind is not None else []
    if not classes:
        raise LayoutError(_nothing_fits(root, layout))
    if not any(cls.samples for cls in classes):
        raise LayoutError(f"{root}: the folders of the layout {kind} are there, but they hold no images.")
    return sorted(classes, key=lambda cls: cls.name)


def class_folders(cls: DatasetClass) -> ClassFolders:
    """Folders of a class; none for data that does not come from a folder layout."""
    if cls.layout in ("mvtec", "vad"):
        return mvtec.class_folders(cls)
    if cls.layout == "visa":
        return visa.class_folders(cls)
    if cls.layout == "folder":
        return own.class_folders(cls)
    return ClassFolders()


def _existing_folder(root: Path) -> Path:
    try:
        # names of classes come from the path, so ".." is followed, but links keep the name they were given
        root = root.expanduser()
        root = root.resolve() if ".." in root.parts else root.absolute()
        if not root.exists():
            raise LayoutError(f"There is no folder {root}. Check the path.")
        if not root.is_dir():
            raise LayoutError(f"{root} is a file, not a folder. Give the data set's folder; unpack an archive first.")
        if all(is_hidden(p) for p in root.iterdir()):
            raise LayoutError(f"The folder {root} is empty. Put images there, at least good ones.")
    except (OSError, RuntimeError) as error:
        raise LayoutError(f"The folder {root} cannot be read ({error}). Check the path and its permissions.") from error
    return root


def _detect(root: Path) -> str | None:
    if visa.fits(root):
        return "visa"
    if mvtec.is_vad(root):
        return "vad"
    if mvtec.is_class(root) or any(mvtec.is_class(p) for p in subfolders(root)):
        return "mvtec"
    return "folder" if own.fits(root) else None


def _read(root: Path, kind: str) -> list[DatasetClass]:
    """Classes of a folder in the named layout; none where it does not fit."""
    if kind == "visa":
        return visa.read_classes(root) if visa.fits(root) else []
    if kind == "folder":
        return [own.read_class(root)] if own.fits(root) else []
    if mvtec.is_class(root):
        dataset = root.name if kind == "vad" else root.parent.name or root.name
        return [mvtec.read_class(root, dataset=dataset, layout="vad" if kind == "vad" else "mvtec")]
    inner = [p for p in subfolders(root) if kind != "vad" and mvtec.is_class(p)]
    return [mvtec.read_class(p, dataset=root.name, layout="mvtec") for p in inner]


def _nothing_fits(root: Path, layout: str) -> str:
    names = [p.name for p in subfolders(root)]
    shown = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
    found = f"{len(list_images(root))} images directly in it; sub-folders: {shown or 'none'}"
    wanted = _NEEDS if layout == "auto" else {layout: _NEEDS[layout]}
    needs = "\n".join(f"  {name}: {need}" for name, need in wanted.items())
    which = "no known layout" if layout == "auto" else f"not in the layout {layout}"
    return f"{root}: {which}. Found: {found}.\nNeeded:\n{needs}"
