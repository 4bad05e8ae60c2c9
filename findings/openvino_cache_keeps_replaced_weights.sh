#!/usr/bin/env bash
# OpenVINO's cache of compiled models does not notice that the weights of a model were replaced.
#
# With CACHE_DIR set, OpenVINO keeps what it compiled and takes it at the next start. When the model is given as the path
# of its .xml, the weights in the .bin beside it are not looked at: after they were replaced (a model trained anew under
# the same name, a restored copy) the former model goes on answering, without a word. A model that is read first by
# read_model is told from the former one by its weights.
#
# Seen with openvino 2026.4.1 on a processor:
#   compiled first: 4096
#   weights times 1.5, by path: 4096
#   weights times 1.5, read first: 6144
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "openvino==2026.4.1" "numpy==2.3.5"
cat > "$folder/see.py" <<'PY'
import sys
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13

folder = Path(sys.argv[1])
xml, weights = folder / "model.xml", folder / "model.bin"
pixels = opset13.parameter([1, 4096], np.float32, name="pixels")
product = opset13.matmul(pixels, opset13.constant(np.ones((4096, 64), np.float32)), False, False)
openvino.save_model(openvino.Model([product], [pixels], "model"), str(xml), compress_to_fp16=False)


def answer(*, read_first: bool) -> int:
    core = openvino.Core()
    core.set_property({"CACHE_DIR": str(folder / "cache")})
    compiled = core.compile_model(core.read_model(str(xml)) if read_first else str(xml), "CPU")
    return round(float(compiled(np.ones((1, 4096), np.float32))[0][0, 0]))


print(f"compiled first: {answer(read_first=False)}")
(np.fromfile(weights, np.float32) * np.float32(1.5)).tofile(weights)
print(f"weights times 1.5, by path: {answer(read_first=False)}")
print(f"weights times 1.5, read first: {answer(read_first=True)}")
PY
"$folder/venv/bin/python" "$folder/see.py" "$folder" | tee "$folder/output"
diff "$folder/output" - <<'OUT'
compiled first: 4096
weights times 1.5, by path: 4096
weights times 1.5, read first: 6144
OUT
echo "as described"
