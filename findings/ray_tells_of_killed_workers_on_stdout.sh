#!/usr/bin/env bash
# Ray tells of killed workers on the driver's standard output, also with log_to_driver=False.
#
# With log_to_driver=False nothing that workers print comes to the driver. What the cluster tells of a worker that died is
# printed all the same, and on the standard output: a program whose output is a document, such as JSON, then writes
# something before it, and only on the day that a worker is killed. contextlib.redirect_stdout around the work keeps it
# away.
#
# Seen with ray 2.60.0 (the first two words of each line, without colour):
#   stdout: (raylet) A
#   stdout: (raylet) Task
#   stdout: {"answer": 42}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray==2.60.0"
cat > "$folder/see.py" <<'PY'
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@ray.remote(max_retries=1)
def answer(file: str) -> int:
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 42


found = ray.get(answer.remote(sys.argv[1]))
time.sleep(5)
print(json.dumps({"answer": found}))
PY
"$folder/venv/bin/python" "$folder/see.py" "$folder/begun" 2>/dev/null | sed 's/\x1b\[[0-9;]*m//g' > "$folder/said"
sed -n 's/^\((raylet) [A-Za-z]*\|{.*}\).*/stdout: \1/p' "$folder/said" | tee "$folder/output"
diff "$folder/output" - <<'OUT'
stdout: (raylet) A
stdout: (raylet) Task
stdout: {"answer": 42}
OUT
echo "as described"
