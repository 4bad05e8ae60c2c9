"""The package is imported where the system is not POSIX: inspection stations run Windows."""

import ast
import subprocess
import sys
from pathlib import Path

import skrd4ad

HIDDEN = ("fcntl", "resource", "pwd", "grp", "termios")
"""Modules of the standard library that Windows lacks."""
ONLY_POSIX = {
    "chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getpriority", "getuid", "initgroups", "killpg",
    "mkfifo", "nice", "posix_fallocate", "pread", "pwrite", "sched_getaffinity", "setpriority", "setsid", "setuid",
    "statvfs", "uname", "wait3", "wait4", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM",
}  # fmt: skip
"""Names of ``os`` and ``signal`` that Windows lacks."""
IMPORT_ALL = """
import importlib, pkgutil, sys
import psutil, ray  # their parts for Linux need resource and pwd

sys.modules.update(dict.fromkeys({hidden!r}))  # None: importing it fails
import skrd4ad

names = [each.name for each in pkgutil.walk_packages(skrd4ad.__path__, "skrd4ad.")]
for name in names:
    # the first is a script, and Alembic alone can run the other
    if name not in ("skrd4ad.__main__", "skrd4ad.storage.migrations.env"):
        importlib.import_module(name)
print(len(names))
"""


def test_every_module_is_imported_without_what_only_posix_has() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(hidden=HIDDEN)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 200


def unguarded(source: str) -> list[str]:
    """Names that only POSIX has and that stand under no condition."""
    tree = ast.parse(source)
    guarded = {
        id(node) for guard in ast.walk(tree) if isinstance(guard, ast.If | ast.IfExp) for node in ast.walk(guard)
    }
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("os", "signal")
        and node.attr in ONLY_POSIX
        and id(node) not in guarded
    ]


def test_what_only_posix_has_stands_under_a_condition() -> None:
    root = Path(skrd4ad.__file__).parent
    found = {
        str(path.relative_to(root)): names
        for path in root.rglob("*.py")
        if (names := unguarded(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_planted_name_is_found() -> None:
    assert unguarded("import os\nos.nice(10)") == ["nice"]
    assert unguarded("import os\nif hasattr(os, 'nice'):\n    os.nice(10)") == []
    assert unguarded("import signal\nsignal.signal(signal.SIGHUP, f)") == ["SIGHUP"]
