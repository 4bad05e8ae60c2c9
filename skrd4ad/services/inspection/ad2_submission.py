"""What the benchmark server of MVTec AD 2 takes: maps and thresholded maps of the private test sets.

``anomaly_images/CLASS/SET/NAME.tiff`` holds the raw map in half precision at the size of the image,
``anomaly_images_thresholded/CLASS/SET/NAME.png`` 255 above the model's pixel limit, which good images gave.
"""

from pathlib import Path

import numpy as np
import tifffile

from skrd4ad.data.layouts.folders import all_images, child
from skrd4ad.data.layouts.mvtec import PRIVATE
from skrd4ad.errors import ConfigError, DataError, LayoutError
from skrd4ad.files import new_file
from skrd4ad.inference.predictions import Inspection
from skrd4ad.services.access import needs
from skrd4ad.services.inspection.inspect import mask_of, png_bytes
from skrd4ad.visualize import resize_map


def private_images(folder: Path) -> list[Path]:
    """Images of the private test sets of a class, in natural order.

    Raises:
        LayoutError: the folder has none.
    """
    images = [image for name in PRIVATE for image in all_images(child(folder, name))]
    if not images:
        raise LayoutError(
            f"{folder} holds no images in {' or '.join(PRIVATE)}. Give the folder of a class of MVTec AD 2."
        )
    return images


@needs("inspector", "keep what was inspected")
def write_submission(inspection: Inspection, out: Path, *, image: Path, class_folder: Path) -> list[Path]:
    """Write map and thresholded map of an image of a class; returns both files.

    Raises:
        DataError: the image could not be read, or a file cannot be written.
        ConfigError: the model has no limits.
    """
    pixels = inspection.image
    if inspection.error is not None or pixels is None or inspection.scored_map is None:
        raise DataError(f"{image} cannot be submitted: {inspection.error}")
    mask = mask_of(inspection)
    if mask is None:
        raise ConfigError(
            "The model has no limits; the thresholded maps need the one that good images give. Calibrate it."
        )
    name = image.relative_to(class_folder.parent)
    scores = resize_map(inspection.scored_map, height=pixels.shape[0], width=pixels.shape[1])
    files = [
        (out / "anomaly_images" / name).with_suffix(".tiff"),
        (out / "anomaly_images_thresholded" / name).with_suffix(".png"),
    ]
    with new_file(files[0], durable=False, error=DataError) as temporary:
        tifffile.imwrite(temporary, scores.astype(np.float16), compression="zlib")
    with new_file(files[1], durable=False, error=DataError) as temporary:
        temporary.write_bytes(png_bytes(mask))
    return files
