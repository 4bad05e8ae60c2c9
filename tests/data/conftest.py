"""Tiny data sets in the exact layouts of the originals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def write_picture(tmp_path: Path) -> Write:
    """``write_picture("a/b.png")``: a picture unlike any other, or one with the given seed, under ``tmp_path``."""
    seeds = iter(range(1000, 100_000))

    def write(name: str, *, seed: int | None = None, size: tuple[int, int] = (12, 10)) -> Path:
        rng = np.random.default_rng(next(seeds) if seed is None else seed)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def write_mask(tmp_path: Path) -> Write:
    """``write_mask("a/b_mask.png")``: a mask with a square of defect pixels under ``tmp_path``."""

    def write(name: str, *, size: tuple[int, int] = (12, 10), side: int = 4, value: int = 255) -> Path:
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[2 : 2 + side, 3 : 3 + side] = value
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
        return path

    return write


@pytest.fixture
def mvtec(tmp_path: Path, write_picture: Write, write_mask: Write) -> Path:
    """``tmp_path/mvtec`` with the class bottle: 20 to train on, 2 good, 3 defects of two types with masks."""
    for number in range(20):
        write_picture(f"mvtec/bottle/train/good/{number:03d}.png")
    for number in range(2):
        write_picture(f"mvtec/bottle/test/good/{number:03d}.png")
    for kind, number in (("broken", 0), ("broken", 1), ("stain", 0)):
        write_picture(f"mvtec/bottle/test/{kind}/{number:03d}.png")
        write_mask(f"mvtec/bottle/ground_truth/{kind}/{number:03d}_mask.png")
    return tmp_path / "mvtec"


@pytest.fixture
def visa(tmp_path: Path, write_picture: Write, write_mask: Write) -> Path:
    """``tmp_path/VisA`` as published, with the classes candle and pcb1, masks of small class numbers."""
    rows = ["object,split,label,image,mask"]
    for name in ("candle", "pcb1"):
        for number in range(3):
            write_picture(f"VisA/{name}/Data/Images/Normal/{number:04d}.JPG")
            split = "test" if number == 2 else "train"
            rows.append(f"{name},{split},normal,{name}/Data/Images/Normal/{number:04d}.JPG,")
        for number in range(2):
            write_picture(f"VisA/{name}/Data/Images/Anomaly/{number:03d}.JPG")
            write_mask(f"VisA/{name}/Data/Masks/Anomaly/{number:03d}.png", value=number + 1)
            rows.append(
                f"{name},test,anomaly,{name}/Data/Images/Anomaly/{number:03d}.JPG,"
                f"{name}/Data/Masks/Anomaly/{number:03d}.png"
            )
    split_file = tmp_path / "VisA" / "split_csv" / "1cls.csv"
    split_file.parent.mkdir()
    split_file.write_text("\n".join(rows) + "\n")
    return tmp_path / "VisA"


@pytest.fixture
def vad(tmp_path: Path, write_picture: Write) -> Path:
    """``tmp_path/vad``: train/{good,bad}, test/{good,bad} without classes and masks."""
    for folder, count in (("train/good", 4), ("train/bad", 2), ("test/good", 2), ("test/bad", 3)):
        for number in range(count):
            write_picture(f"vad/{folder}/{number}.png")
    return tmp_path / "vad"
