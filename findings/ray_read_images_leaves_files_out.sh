#!/usr/bin/env bash
# Ray Data's read_images leaves files out of a folder without a word.
#
# Names that begin with an underscore, and WebP files, which Pillow reads, are not among the images of a folder; nothing
# is raised or logged. A count of the rows, or a model's scores, then look as if all were well.
#
# Seen with ray 2.60.0, pyarrow 26.0.1, pillow 13.0.0:
#   files: _d.png a.png b.png c.webp
#   images: a.png b.png
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[data]==2.60.0" "pyarrow==26.0.1" "pillow==13.0.0"
cat > "$folder/see.py" <<'PY'
import logging
import os
import sys
from pathlib import Path

import numpy as np
import ray
from PIL import Image

images = Path(sys.argv[1])
images.mkdir()
grey = Image.fromarray(np.full((16, 16), 128, np.uint8))
for name in ("a.png", "b.png", "c.webp", "_d.png"):
    grey.save(images / name)

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
logging.getLogger("ray").setLevel(logging.ERROR)
ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
ray.data.DataContext.get_current().enable_progress_bars = False
found = [Path(row["path"]).name for row in ray.data.read_images(str(images), include_paths=True).take_all()]
print("files:", *sorted(each.name for each in images.iterdir()))
print("images:", *sorted(found))
PY
"$folder/venv/bin/python" "$folder/see.py" "$folder/images" 2>"$folder/said" | tee "$folder/output"
diff "$folder/output" - <<'OUT'
files: _d.png a.png b.png c.webp
images: a.png b.png
OUT
echo "as described"
