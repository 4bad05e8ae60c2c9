"""Files and functions of the package that one image enters on its way to a verdict. From the project's folder::

    python -m benchmarks.path_to_verdict                     this checkout
    python -m benchmarks.path_to_verdict ../other            this and another one, each in a process of its own
    python -m benchmarks.path_to_verdict --list              with their names

Runs ``skrd4ad predict IMAGE`` by torch and counts what is called from the first decoding to the printed verdict; the
whole command, with parsing of its arguments and loading of the model, is counted beside it. A function counts once,
however often it is called, and a lambda is a function; comprehensions belong to the function that holds them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODEL = "checkpoints/synthetic/machined_disc/demo"
BEGINS = "read_image"
"""The path begins where this function is called first."""
ENDS = "Output.say"
"""It ends with the first line that this method prints, the verdict."""

# Runs in the checkout that is measured, which need not hold this file.
PROBE = r"""
import json, sys, threading, types
from pathlib import Path
import skrd4ad, skrd4ad.cli
root = str(Path(skrd4ad.__file__).parent)
begins, ends, report, *argv = sys.argv[1:]
entered, path, begun, over = {}, {}, False, False
LEFT_OUT = {"<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}

def profile(frame, event, _):
    global begun, over
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith(root) or code.co_name in LEFT_OUT:
        return
    if not code.co_flags & 0x02:  # CO_NEWLOCALS: a class body has none
        return
    place = (code.co_filename[len(root) + 1:], code.co_qualname, code.co_firstlineno)
    entered[place] = True
    begun = begun or code.co_name == begins
    if begun and not over:
        path[place] = True
    over = over or begun and code.co_qualname == ends

threading.setprofile(profile)
sys.setprofile(profile)
code = skrd4ad.cli.main(argv)
sys.setprofile(None)
threading.setprofile(None)
Path(report).write_text(json.dumps({"code": code, "command": list(entered), "path": list(path)}))
"""


def measure(checkout: Path, image: Path) -> dict[str, list[tuple[str, str]]]:
    """``command`` and ``path``: (file, function) in the order in which they are entered first."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        command = ["predict", "--model", str(checkout / MODEL), str(image), "--out", place, "--runtime", "torch"]
        environment = os.environ | {"PYTHONPATH": str(checkout), "SKRD4AD_HOME": str(Path(place) / "home")}
        subprocess.run(
            [sys.executable, "-c", PROBE, BEGINS, ENDS, str(report), *command], env=environment, cwd=place, check=True
        )
        found = json.loads(report.read_text())
    if found.pop("code") != 0:
        raise SystemExit(f"predict failed in {checkout}")
    return {name: [(file, function) for file, function, _ in entered] for name, entered in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("others", nargs="*", type=Path, metavar="CHECKOUT", help="other checkouts to measure as well")
    parser.add_argument("--list", action="store_true", help="print the functions too")
    given = parser.parse_args()
    from skrd4ad.data.synthetic.write import write_synthetic

    with tempfile.TemporaryDirectory() as place:
        write_synthetic(Path(place), classes=("machined_disc",), train=1, test_good=1, per_defect=1, size=256)
        image = next((Path(place) / "machined_disc" / "test" / "scratch").glob("*.png"))
        for checkout in (Path(__file__).parents[1], *(other.resolve() for other in given.others)):
            found = measure(checkout, image)
            print(checkout)
            for name, title in (("path", "from decoding to the verdict"), ("command", "the whole command")):
                entered = found[name]
                print(f"  {title}: {len({file for file, _ in entered})} files, {len(entered)} functions")
                if given.list and name == "path":
                    print(*(f"    {file}  {function}" for file, function in entered), sep="\n")


if __name__ == "__main__":
    main()
