"""What work costs as whole processes, in an earlier checkout and in this one. From the project's folder::

    python -m benchmarks.light --base ../earlier               all kinds of work
    python -m benchmarks.light --base ../earlier --only help models

Both checkouts take turns; each has a workspace of its own, and does each kind of work but a training once before it is
measured, so that what is kept (conversions, compiled graphs, measured runtimes) is there. "page" is Streamlit's server
from its start until a client, which is not counted, has the first page and its files; "train" trains and evaluates.
Seconds are of the processor, user and system, of the process and its children; memory is the peak of the process. The
medians of the rounds are printed.
"""

import argparse
import json
import os
import re
import socketserver
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from benchmarks.folder import draw, many

HERE = Path(__file__).parents[1]
SECONDS = 300
"""For a server to answer."""
FIRST_TEXTS = ("skrd4ad_showcase", "See a defect now")
"""On the first page where there are demo models: one of them, the second in earlier builds."""
MODEL = "checkpoints/synthetic/machined_disc/demo"
COMMAND = "import sys; from skrd4ad.cli import main; sys.exit(main(sys.argv[1:]))"
SERVER = """
import os, signal, sys, threading
from streamlit.web.cli import main
# ends when whoever started it closes its standard input
threading.Thread(target=lambda: (sys.stdin.read(), os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()
sys.argv = ["streamlit", "run", "app.py", "--server.headless=true", f"--server.port={sys.argv[1]}"]
main()
"""
ONE_IMAGE = """
import sys, time
from pathlib import Path
import numpy as np
try:
    from skrd4ad.export.runtimes import RuntimeChoice, load_runtime
except ImportError:  # earlier builds
    from skrd4ad.engine.runtimes import Choice as RuntimeChoice, load_runtime
image = np.load(sys.argv[1])[None]
runtime = load_runtime(Path(sys.argv[2]), RuntimeChoice("openvino"))
try:
    runtime.batch(image)
except AttributeError:  # earlier builds take tensors with the channels first
    import torch
    image = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()
found = runtime.batch(image)
np.save(sys.argv[3], found.maps)
for _ in range(300):
    begun, used = time.perf_counter(), time.process_time()
    runtime.batch(image)
    print(1000 * (time.perf_counter() - begun), 1000 * (time.process_time() - used))
"""


LAUNCHER = """
import json, os, sys, time
begun = time.perf_counter()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(process, 0)
found = {"cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024, "wall": time.perf_counter() - begun}
open(sys.argv[1], "w").write(json.dumps(found))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a process and measures it; one that is large itself would be counted, as a process begins as a copy of it."""


@dataclass(frozen=True)
class Cost:
    """Of one process."""

    cpu: float
    """Seconds, user and system, children included."""
    memory: float
    """Peak, MB."""
    wall: float
    output: str


def cost_of(checkout: Path, home: Path, script: str, arguments: Sequence[object] = ()) -> Cost:
    """Run a script in a checkout; a server until it has shown its first page."""
    # packages that only the earlier build needs may come by the variable
    path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "SKRD4AD_HOME": str(home), "SKRD4AD_NICENESS": "0"}
    # compiled modules are kept, as after every installation, and not in the checkout
    environment |= {"PYTHONPYCACHEPREFIX": str(home.parent / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}
    report = home.parent / "cost.json"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as problems, tempfile.TemporaryFile("w+") as printed:
        with subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", LAUNCHER, str(report), *command],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=problems,
        ) as process:
            if script == SERVER:
                open_app(f"localhost:{arguments[0]}")
        printed.seek(0)
        problems.seek(0)
        output = printed.read()
        # 1 where an image is unlike the training images
        if process.returncode not in (0, 1) or not output:
            raise SystemExit(f"{checkout}: {command} ended with {process.returncode}:\n{problems.read()}")
    return Cost(**json.loads(report.read_text()), output=output)


def open_app(server: str) -> None:
    """Do what a browser does with the app's address: load the page's files, have its script run until the first page is
    there, and load its pictures."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            page = load(f"http://{server}/").decode()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    for file in re.findall(r'(?:src|href)="\./(static/[^"]+)"', page):
        load(f"http://{server}/{file}")
    shown = ""
    with connect(f"ws://{server}/_stcore/stream", subprotocols=[Subprotocol("streamlit")], max_size=None) as socket:
        socket.send(BackMsg(rerun_script=ClientState()).SerializeToString())
        # a page that leads to another ends early
        while (
            not (message := ForwardMsg.FromString(bytes(socket.recv(timeout=SECONDS)))).HasField("script_finished")
            or message.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY
        ):
            shown += str(message)
        for picture in sorted(set(re.findall(r"/media/[\w.]+", shown))):
            load(f"http://{server}{picture}")
    if not any(text in shown for text in FIRST_TEXTS):
        raise SystemExit(f"The first page came without any of {FIRST_TEXTS}.")


def load(address: str) -> bytes:
    """The content of an address."""
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        return answer.read()


def free_port() -> int:
    """A port that nobody listens at."""
    with socketserver.TCPServer(("localhost", 0), socketserver.BaseRequestHandler) as server:
        return server.server_address[1]


def works(scratch: Path, given: argparse.Namespace) -> dict[str, tuple[str, list[object]]]:
    """Scripts and their arguments by the name of the work."""
    paths = draw(scratch, 256, ".png")
    folder, out = many(paths, scratch / "many", given.images), scratch / "out"
    np.save(scratch / "image.npy", np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    predict = ["predict", "--model", MODEL, "--out", out]
    return {
        "help": (COMMAND, ["--help"]),
        "models": (COMMAND, ["models"]),
        "predict": (COMMAND, [*predict, paths[0]]),
        "folder": (COMMAND, [*predict, folder]),
        "page": (SERVER, [free_port()]),
        "image": (ONE_IMAGE, [scratch / "image.npy", MODEL]),
        "train": (COMMAND, ["train", "--data", given.data, "--class", given.class_name, "--out", out, *given.training]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="checkout of the earlier build")
    parser.add_argument("--images", type=int, default=1000, help="in the folder")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mvtec"), help="data set to train on")
    parser.add_argument("--class", dest="class_name", default="transistor", help="class to train on")
    parser.add_argument(
        "--training", type=str.split, default=[], metavar="OPTIONS", help="of the training, such as '--most-steps 50'"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="WORK", help="help, models, predict, folder, page, image, train")
    given = parser.parse_args()
    given.data = given.data.resolve()
    checkouts = {"before": given.base.resolve(), "now": HERE}
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        for work, (script, arguments) in works(scratch, given).items():
            if given.only and work not in given.only:
                continue
            found: dict[str, list[Cost]] = {name: [] for name in checkouts}
            warm_up = work != "train"
            for _ in range(given.rounds + warm_up):
                for name, checkout in checkouts.items():
                    more = [scratch / f"{name}.npy"] if work == "image" else []
                    found[name].append(cost_of(checkout, scratch / f"home-{name}", script, [*arguments, *more]))
            rounds = {name: costs[warm_up:] for name, costs in found.items()}
            if work == "image":
                report_image(scratch, rounds)
            else:
                report(work, rounds, images=given.images if work == "folder" else None)


def report(work: str, found: dict[str, list[Cost]], *, images: int | None) -> None:
    """Medians, and how many times less."""
    cpu, memory, wall = (
        {name: statistics.median(getattr(each, of) for each in costs) for name, costs in found.items()}
        for of in ("cpu", "memory", "wall")
    )
    for name in found:
        rate = "" if images is None else f", {images / wall[name]:.1f} images/s, {images / cpu[name]:.1f} per CPU s"
        print(f"{work:8} {name:7}{cpu[name]:8.2f} CPU s {memory[name]:7.0f} MB{rate}")
    rate = "" if images is None else f", images/s {wall['before'] / wall['now']:.2f}"
    print(
        f"{work:8} ratio  {cpu['before'] / cpu['now']:8.1f}       {memory['before'] / memory['now']:7.1f}{rate}",
        flush=True,
    )


def report_image(scratch: Path, found: dict[str, list[Cost]]) -> None:
    """Milliseconds of one image by OpenVINO in fp32: the median of each round, and of these the least."""
    best: dict[str, tuple[float, float]] = {}
    for name, costs in found.items():
        rounds = [np.array([line.split() for line in each.output.splitlines()], float) for each in costs]
        medians = np.array([np.median(each, axis=0) for each in rounds])
        best[name] = (float(medians[:, 0].min()), float(medians[:, 1].min()))
        print(f"image    {name:7}{best[name][0]:8.2f} ms {best[name][1]:8.2f} CPU ms")
    apart = np.abs(np.load(scratch / "before.npy") - np.load(scratch / "now.npy")).max()
    ratios = [before / now for before, now in zip(best["before"], best["now"], strict=True)]
    print(f"image    ratio  {ratios[0]:8.2f}    {ratios[1]:8.2f}        maps differ by {apart:.2g}", flush=True)


if __name__ == "__main__":
    main()
