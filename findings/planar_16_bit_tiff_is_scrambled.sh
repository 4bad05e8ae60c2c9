#!/usr/bin/env bash
# Pillow and OpenCV read a 16-bit RGB TIFF whose colours lie in separate planes without an error, and wrong.
#
# PlanarConfiguration 2 (TIFF 6.0) is what scientific programs write of an array (3, H, W). At 16 bit both libraries return
# a picture of the right size in which the pixels are others; at 8 bit Pillow is right, and tifffile reads what it wrote. A
# program that opens such files has to look at the tag, and to read the planes one by one.
#
# Seen with pillow 13.0.0, opencv-python-headless 5.0.0.93 and tifffile 2026.3.3:
#   8 bit, Pillow: right
#   16 bit, tifffile: right
#   16 bit, Pillow: wrong in 100 % of the pixels
#   16 bit, OpenCV: wrong in 100 % of the pixels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "pillow==13.0.0" "opencv-python-headless==5.0.0.93" "tifffile==2026.3.3"
cat > "$folder/see.py" <<'PY'
import io

import cv2
import numpy as np
import tifffile
from PIL import Image

planes = np.arange(3 * 8 * 10, dtype=np.uint16).reshape(3, 8, 10) * 200


def written(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric="rgb", planarconfig="separate")
    return stream.getvalue()


def say(what: str, read: np.ndarray, planes: np.ndarray) -> None:
    wrong = (read != np.moveaxis(planes, 0, -1)).any(axis=2).mean()
    print(f"{what}: {f'wrong in {wrong:.0%} of the pixels' if wrong else 'right'}".replace("0%", "0 %"))


eight = (planes >> 8).astype(np.uint8)
deep = written(planes)
say("8 bit, Pillow", np.asarray(Image.open(io.BytesIO(written(eight)))), eight)
say("16 bit, tifffile", np.moveaxis(tifffile.imread(io.BytesIO(deep)), 0, -1), planes)
say("16 bit, Pillow", np.asarray(Image.open(io.BytesIO(deep))), eight)  # it gives RGB of 8 bit
opencv = cv2.imdecode(np.frombuffer(deep, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
say("16 bit, OpenCV", opencv, planes)
PY
"$folder/venv/bin/python" "$folder/see.py" | tee "$folder/output"
diff "$folder/output" - <<'OUT'
8 bit, Pillow: right
16 bit, tifffile: right
16 bit, Pillow: wrong in 100 % of the pixels
16 bit, OpenCV: wrong in 100 % of the pixels
OUT
echo "as described"
