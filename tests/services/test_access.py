"""Every function that changes something asks for a role, and refuses those who have a lesser one."""

import ast
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.errors import AccessError, DocumentError, SkrdError
from skrd4ad.services.access import ROLES, Actor, acting_as, acting_user, needs, why_not
from skrd4ad.services.history import HistoryFilter, details_of, history_page, record
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import remove_job
from skrd4ad.services.models.library import delete_model
from skrd4ad.services.roles import Roles, actor_of, give_role, read_roles, roles_file
from skrd4ad.types import Role
from tests.test_architecture import ROOT, modules, pages

NEEDED: dict[Role, dict[str, tuple[str, ...]]] = {
    "inspector": {
        "datasets": ("folders_in", "images_in"),
        "inspection.ad2_submission": ("write_submission",),
        "inspection.inspect": ("inspect_images", "write_outputs"),
        "inspection.uploads": ("keep_batch", "delete_batch"),
        "labelling.add_images": ("add_class", "add_files"),
        "labelling.annotate": ("decide", "draw", "undo"),
        "labelling.files": ("keep_content", "save_mask_file"),
        "labelling.review": ("send_to_review", "keep_upload"),
        "labelling.score_queue": ("submit_scoring", "score_images", "score_labelled"),
        "reports.html": ("save",),
        "study.challenge": ("judge_challenge",),
        "watching.watches": ("start_watching", "stop_watching", "watch_again", "forget_watch"),
    },
    "engineer": {
        "calibration.calibrate": ("save", "use_version"),
        "evaluation.evaluate": ("evaluate_class",),
        "evaluation.pictures": ("draw_pictures",),
        "evaluation.store": ("write_evaluation", "delete_evaluation"),
        "improve.adopt": ("note_outcome", "use_new_model", "go_back"),
        "improve.retrain": ("submit_retraining",),
        "improve.retrain_data": ("keep_confirmed",),
        "labelling.exchange.import_job": ("submit_preview", "submit_import", "drop_upload"),
        "labelling.exchange.store": ("run_import",),
        "labelling.exchange.write": ("folder_sink",),
        "labelling.exchange.transfer": ("export_zip_bytes", "export_zip", "export_folder", "make_dataset"),
        "models.export_job": ("make_export", "export_to"),
        "models.demo": ("provide_demo_models",),
        "models.exports": ("delete_export",),
        "models.shipped": ("ship_evaluation",),
        "models.library": (
            "rename_model",
            "note_model",
            "archive_model",
            "bundle_of",
            "import_model_bundle",
            "import_uploaded_checkpoint",
        ),
        "study.challenge": ("add_challenge_parts", "remove_challenge_parts", "require_challenge"),
        "study.store": ("save_study", "delete_study"),
        "training": ("train_class",),
    },
    "admin": {"models.library": ("delete_model",), "roles": ("give_role",), "api_keys": ("make_key", "remove_key")},
}
"""What each role may do that the one before it may not, by module of the services."""
FUNCTIONS = [
    (role, f"skrd4ad.services.{module}", name)
    for role, by_module in NEEDED.items()
    for module, names in by_module.items()
    for name in names
]


def as_role(role: Role) -> Actor:
    return Actor("Ada", role, because="Zoë gives another one.")


@pytest.mark.parametrize(("role", "module", "name"), FUNCTIONS, ids=lambda each: each.rpartition(".")[2])
def test_lesser_roles_are_refused_before_anything_is_done(role: Role, module: str, name: str) -> None:
    function: Callable[..., Any] = getattr(import_module(module), name)
    for lesser in ROLES[: ROLES.index(role)]:
        with acting_as(as_role(lesser)):
            with pytest.raises(AccessError, match=f"^To .+, the role {role} is needed; .* {lesser}. Zoë gives"):
                function()
            assert f"the role {role} is needed" in why_not(function)
    for able in ROLES[ROLES.index(role) :]:
        with acting_as(as_role(able)):
            assert why_not(function) == ""
            with pytest.raises(TypeError):  # it is called, without its arguments
                function()


@pytest.mark.parametrize(
    ("kind", "able"), [("train", "engineer"), ("export", "engineer"), ("labels", "engineer"), ("score", "inspector")]
)
def test_jobs_are_started_and_steered_by_those_who_may(kind: str, able: Role) -> None:
    def act(role: Role, call: Callable[[], Any]) -> Any:
        with acting_as(as_role(role)):
            return call()

    lesser = ROLES[ROLES.index(able) - 1]

    def submit() -> str:
        return queue().submit(kind=kind, title="Work", request={}, work=lambda job: wait_for_end(job))

    with pytest.raises(AccessError, match="start the job 'Work'"):
        act(lesser, submit)
    assert queue().list() == []
    job = act(able, submit)
    for steer in (queue().cancel, queue().pause, queue().resume_paused):
        with pytest.raises(AccessError, match="the job 'Work'"):
            act(lesser, lambda steer=steer: steer(job))
    assert queue().get(job).active
    act(able, lambda: queue().cancel(job))
    assert queue().wait(job, 20).state == "cancelled"


def test_a_job_that_has_ended_is_removed_by_those_who_may() -> None:
    job = queue().submit(kind="train", title="Work", request={}, work=lambda _: {})
    queue().wait(job, 20)
    with (
        acting_as(as_role("inspector")),
        pytest.raises(AccessError, match="To remove the job 'Work', the role engineer"),
    ):
        remove_job(job)
    assert [each.id for each in queue().list()] == [job]
    with acting_as(as_role("engineer")):
        remove_job(job)
    assert queue().list() == []


def test_a_command_announces_only_what_its_user_may_start() -> None:
    with acting_as(as_role("viewer")), pytest.raises(AccessError, match="start the job 'Work'"):
        queue().announce(kind="train", title="Work", request={}, lane="long", owner="here")
    assert queue().list() == []


def wait_for_end(job: Any) -> dict[str, Any]:
    while True:
        job.check()


def test_a_job_runs_as_the_one_who_asked_for_it() -> None:
    def work(_job: Any) -> dict[str, Any]:
        record("noted")
        refused = ""
        try:
            delete_model(Path("model"))
        except AccessError as error:
            refused = str(error)
        return {"who": acting_user(), "refused": refused}

    with acting_as(as_role("engineer")):
        job = queue().submit(kind="train", title="Work", request={}, work=work)
    result = queue().wait(job, 20).result or {}
    assert result["who"] == "Ada" and "To delete a model, the role admin is needed" in result["refused"]
    assert [entry.who for entry in history_page(HistoryFilter()).entries] == ["Ada"]


def test_who_is_logged_in_signs_with_no_other_name() -> None:
    with acting_as(Actor("Ada", "engineer", is_login=True)):
        record("noted", who="Somebody else")
    with acting_as(Actor("Ada", "engineer")):
        record("noted", who="Somebody else")
    assert [entry.who for entry in history_page(HistoryFilter()).entries] == ["Somebody else", "Ada"]


def test_roles_come_from_a_file_and_an_admin_gives_them(home: Path) -> None:
    assert read_roles() == Roles() and not roles_file().exists()
    give_role("ada@example.org", "admin")
    with acting_as(actor_of("Ada", "ADA@example.org")):
        give_role('bo "the boss"\\', "inspector")
        give_role("cy@example.org", "engineer")
        give_role("cy@example.org", None)
    assert read_roles().roles == {"ada@example.org": "admin", 'bo "the boss"\\': "inspector"}
    newest = history_page(HistoryFilter(what=("role given",))).entries[0]
    assert (newest.who, details_of(newest)) == (
        "Ada",
        {"login": "cy@example.org", "role": "none", "before": "engineer"},
    )
    roles_file().write_text(
        f'default = "engineer"\n{roles_file().read_text().partition("viewer")[2].partition(chr(10))[2]}'
    )
    assert actor_of("Cy", "cy@example.org").role == "engineer" and read_roles().of("") == "engineer"
    assert "ada@example.org can give another role" in actor_of("Cy", "cy@example.org").because


@pytest.mark.parametrize(
    "text",
    [
        "[roles",
        'default = "boss"',
        '[roles]\n"ada@example.org" = "root"',
        '[roles]\n"ada@example.org" = 4',
        'roles = ["ada@example.org"]',
        'admins = ["ada@example.org"]',
        "\ud800",
    ],
)
def test_with_a_damaged_file_everybody_is_a_viewer_and_is_told_why(home: Path, text: str) -> None:
    give_role("ada@example.org", "admin")
    roles_file().write_bytes(text.encode("utf-8", "surrogatepass"))
    actor = actor_of("Ada", "ada@example.org")
    assert actor.role == "viewer" and "roles.toml is damaged" in actor.because
    with acting_as(actor), pytest.raises(AccessError, match="is damaged"):
        give_role("ada@example.org", "admin")
    with pytest.raises(DocumentError):  # of the command line, which is refused nothing
        give_role("ada@example.org", "admin")


@pytest.mark.parametrize(("login", "role"), [("", "admin"), ("a\nb", "admin"), ("a" * 255, "admin"), ("ada", "boss")])
def test_only_roles_that_exist_are_given_and_only_to_names(login: str, role: str) -> None:
    with pytest.raises(SkrdError, match="allowed: "):
        give_role(login, role)  # type: ignore[arg-type]
    assert not roles_file().exists()


# ---- nothing that changes something is left out ----

SINKS = {"new_file", "new_folder", "write_json", "record", "rmtree", "unlink", "write_text", "write_bytes", "touch"}
"""Calls that change something that stays, besides ``database.write()``. The queue of jobs is checked as they are."""
HARMLESS = {
    # what can be computed again, kept so that it need not be
    "skrd4ad.services.inspection.predictions",
    "skrd4ad.services.inspection.similar_images",
    "skrd4ad.services.inspection.runtimes",
    "skrd4ad.services.evaluation.compare._keep_differences",
    "skrd4ad.services.models.shipped.take_over_evaluations",
    "skrd4ad.export.runtimes.by_runtime",
    "skrd4ad.inference.evaluate.score_samples",
    "skrd4ad.models.weights",
    # what happened is written down, whoever did it
    "skrd4ad.services.history.record",
    # jobs and watched folders go on by themselves, as those who asked for them
    "skrd4ad.services.jobs.handle",
    "skrd4ad.services.jobs.worker",
    "skrd4ad.services.jobs.turn",
    "skrd4ad.services.jobs.queue.JobQueue.recover_interrupted",
    "skrd4ad.services.watching.watcher.FolderWatcher",
    "skrd4ad.services.labelling.exchange.import_job._forget_uploads",
    # at the start of the app, what killed processes left half written
    "skrd4ad.files.sweep",
    "skrd4ad.model_folder.unfinished.finish_killed",
    # scratch files of a test of what can be written
    "skrd4ad.files.temporary_folder",
}
"""Functions, classes and modules that need no role."""


class Function:
    """A function of the package: what it calls, and whether it asks for a role."""

    def __init__(self, name: str, node: ast.FunctionDef, known: dict[str, str]) -> None:
        self.name = name
        self.calls: set[str] = set()
        self.writes = False
        called = {
            each.func.id if isinstance(each.func, ast.Name) else getattr(each.func, "attr", "")
            for each in [*ast.walk(node), *node.decorator_list]
            if isinstance(each, ast.Call)
        }
        self.checks = bool(called & {"needs", "require", "_require"})
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id in known:
                self.calls.add(known[each.id])
            elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in known:
                self.calls.add(f"{known[each.value.id]}.{each.attr}")
            elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
                self.calls.add(f"{name.rpartition('.')[0]}.{each.attr}")
            if isinstance(each, ast.Call):
                self.writes |= is_write(each)


def is_write(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in SINKS
    if not isinstance(call.func, ast.Attribute):
        return False
    return call.func.attr in SINKS - {"record"} or (call.func.attr == "write" and not call.args)


def functions_of(module: str, source: str) -> Iterator[Function]:
    """All functions and methods of a module; ``known`` are what its names stand for."""
    tree = ast.parse(source)
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skrd4ad"):
            known.update({each.asname or each.name: f"{node.module}.{each.name}" for each in node.names})
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    known.update({node.name: f"{module}.{node.name}" for node in own})
    for node in own:
        if isinstance(node, ast.FunctionDef):
            yield Function(f"{module}.{node.name}", node, known)
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef):
                yield Function(f"{module}.{node.name}.{method.name}", method, known)


def unguarded(functions: dict[str, Function]) -> set[str]:
    """Functions through which something is changed without a role being asked for."""
    open_ = {name for name, each in functions.items() if each.writes and not each.checks and not is_harmless(name)}
    while True:
        more = {
            name
            for name, each in functions.items()
            if name not in open_ and not each.checks and not is_harmless(name) and each.calls & open_
        }
        if not more:
            return open_
        open_ |= more


def is_harmless(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in HARMLESS)


def package() -> dict[str, Function]:
    return {
        function.name: function
        for module, path in modules().items()
        for function in functions_of(module, path.read_text(encoding="utf-8"))
    }


def test_every_function_that_changes_something_asks_for_a_role() -> None:
    found = unguarded(package())
    # private functions are reached through public ones, and pages through the services
    services = sorted(name for name in found if name.startswith("skrd4ad.services.") and "._" not in name)
    assert services == [], "decorate these by @needs, or say in HARMLESS why not:\n" + "\n".join(services)
    pages_too = sorted(name for name in found if name.startswith("skrd4ad.ui."))
    assert pages_too == [], "a page changes something without a service:\n" + "\n".join(pages_too)


def test_what_is_called_harmless_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = package()
    for entry in sorted(HARMLESS):
        monkeypatch.setitem(globals(), "HARMLESS", HARMLESS - {entry})
        assert any(f"{name}.".startswith(f"{entry}.") for name in unguarded(functions)), entry
        monkeypatch.undo()


def test_every_function_that_asks_for_a_role_is_in_the_table() -> None:
    decorated = {
        f"{module}.{node.name}"
        for module, path in modules().items()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for each in node.decorator_list
        if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "needs"
    }
    assert decorated == {f"{module}.{name}" for _, module, name in FUNCTIONS}


def test_pages_write_nothing_themselves() -> None:
    for path in (*pages(), *sorted((ROOT / "skrd4ad" / "ui").rglob("*.py"))):
        calls = [each for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(each, ast.Call)]
        assert not [ast.unparse(each) for each in calls if is_write(each)], path


@pytest.mark.parametrize(
    "source",
    [
        "def change():\n    with workspace_database().write() as session:\n        pass",
        "from skrd4ad.files import new_file\ndef change(path):\n    with new_file(path): pass",
        "from skrd4ad.services.history import record\ndef change():\n    record('noted')",
        "def change():\n    _inner()\ndef _inner():\n    path.write_bytes(b'')",
        "class Change:\n    def change(self):\n        self._inner()\n    def _inner(self):\n        path.unlink()",
        "from skrd4ad.model_folder.folder import save_metrics\ndef change():\n    save_metrics('x', {})",
        "from skrd4ad.model_folder import folder\ndef change():\n    later(folder.save_metrics)",
    ],
)
def test_a_planted_change_is_found_and_a_check_closes_it(source: str) -> None:
    module = "skrd4ad.services.planted"

    def found(text: str) -> set[str]:
        planted = {each.name: each for each in functions_of(module, text)}
        return {name for name in unguarded({**package(), **planted}) if name.startswith(module)}

    assert any(name.endswith("change") for name in found(source))
    lines = [
        f"{line[: len(line) - len(line.lstrip())]}@needs('admin', 'x')\n{line}" if "def change(" in line else line
        for line in source.split("\n")
    ]
    assert not [name for name in found("\n".join(lines)) if name.endswith("change")]


def test_a_decorated_function_is_the_same_function() -> None:
    @needs("viewer", "look")
    def look(*, at: int) -> int:
        """Look."""
        return at

    assert (look.__name__, look.__doc__, look(at=3)) == ("look", "Look.", 3)
