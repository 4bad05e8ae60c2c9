#!/usr/bin/env bash
# Importing WeasyPrint changes what Pillow does with images that are cut off, in the whole process.
#
# Pillow raises an OSError for an image whose data end early, so that half a picture of a part is never measured.
# WeasyPrint 70.0 sets PIL.ImageFile.LOAD_TRUNCATED_IMAGES to True when it is imported: from then on every part of the
# program gets such an image with its missing rows filled, and no error. A program that prints a report and inspects
# parts in one process has to set the flag back after the import.
#
# Seen with weasyprint 70.0 and pillow 13.0.0 (needs Pango on the system, as WeasyPrint does):
#   before the import: OSError
#   after the import: loaded, 64x64, rows below the cut all 0: True
#   flag set back: OSError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "weasyprint==70.0" "pillow==13.0.0"
cat > "$folder/see.py" <<'PY'
import io

import PIL
from PIL import Image, ImageFile

whole = io.BytesIO()
Image.effect_noise((64, 64), 40).save(whole, format="PNG")
cut = whole.getvalue()[: len(whole.getvalue()) // 2]


def load() -> str:
    try:
        image = Image.open(io.BytesIO(cut))
        image.load()
    except OSError:
        return "OSError"
    below = image.crop((0, 60, 64, 64)).getextrema() == (0, 0)
    return f"loaded, {image.width}x{image.height}, rows below the cut all 0: {below}"


print(f"before the import: {load()}")
import weasyprint  # noqa: E402

print(f"after the import: {load()}")
ImageFile.LOAD_TRUNCATED_IMAGES = False
print(f"flag set back: {load()}")
assert (weasyprint.__version__, PIL.__version__) == ("70.0", "13.0.0")
PY
"$folder/venv/bin/python" "$folder/see.py" | tee "$folder/output"
diff "$folder/output" - <<'OUT'
before the import: OSError
after the import: loaded, 64x64, rows below the cut all 0: True
flag set back: OSError
OUT
echo "as described"
