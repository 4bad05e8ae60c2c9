"""Two apps and the command line on one workspace: nobody's decision is lost, and no two trainings run at once."""

import random
import threading
from contextlib import suppress
from pathlib import Path

from benchmarks.soaking.app import World, kill_workers, new_world, running
from benchmarks.soaking.client import Client, StepMissing, chromium
from benchmarks.soaking.journal import Figure, Journal, broken_models, complete_models, none_of
from skrd4ad.errors import StorageError
from skrd4ad.storage import jobs
from skrd4ad.storage.database import workspace_database

EPOCHS = 30
COMMAND_SECONDS = 900


def soak(root: Path, *, decisions: int, seed: int) -> list[Figure]:
    """Two users decide in turn, each in an app of their own, while both apps and the command line train and score."""
    chance = random.Random(seed)
    problems: list[str] = []
    with (
        new_world(root, images=decisions + 20, seed=seed) as world,
        running(world) as one,
        running(world) as other,
        chromium() as browser,
    ):
        watcher = _Watcher()
        watcher.start()
        journal = Journal(root / "journal.jsonl")
        clients = [Client(browser, app, journal, name=name) for app, name in ((one, "Anna"), (other, "Bob"))]
        before = len(complete_models())
        commands = []
        try:
            for client in clients:
                client.start_training(world.parts / "machined_disc", epochs=EPOCHS)
            commands = _commands(world)
            for client in clients:
                client.open_label()
            for turn in range(decisions):
                clients[turn % 2].decide(chance)
                if turn == decisions // 2:
                    other.kill()  # and the one goes on, with the jobs of both
                    other.start()
                    clients[1].open_label()
            clients[0].wait(lambda: len(complete_models()) >= before + 3, "the models of three trainings")
        except StepMissing as error:
            problems.append(str(error))
        for name, command in commands:
            said, _ = command.communicate(timeout=COMMAND_SECONDS)
            if command.returncode or "Traceback" in said:
                problems.append(f"{name}: exit {command.returncode}, {said[-200:]}")
        watcher.stop()
        problems += [problem for client in clients for problem in client.problems]
        conflicts = sum(client.conflicts for client in clients)
        lost = journal.lost(world.model) + broken_models()
        trained = len(complete_models()) - before
        kill_workers(world)
        logged = one.tracebacks() + other.tracebacks()
    return [
        Figure("decisions of two users in two apps, conflicts", f"{journal.confirmed}, {conflicts}", "100, –", True),
        Figure("trainings of two apps and a command that became models", str(trained), "3", trained == 3),
        Figure("long jobs that ran at the same time, at most", str(watcher.most), "1", watcher.most <= 1),
        none_of("confirmed and lost, broken models", lost),
        none_of("tracebacks on a page or of a command, steps that did not come", problems),
        Figure("tracebacks in the logs of the apps", str(logged), "0", logged == 0),
    ]


def _commands(world: World) -> list[tuple[str, object]]:
    source = ["--data", world.parts, "--class", "machined_disc"]
    train = ["train", *source, "--image-size", 64, "--epochs", EPOCHS, "--batch-size", 4, "--holdout", 0.25]
    train += ["--out", world.root / "models"]
    parts = world.parts / "machined_disc" / "test"
    predict = ["predict", parts, "--model", world.model, "--out", world.root / "predicted"]
    return [(each[0], world.command(*each)) for each in (train, predict)]


class _Watcher(threading.Thread):
    """Looks at how many jobs of the long lane run at once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            with suppress(StorageError), workspace_database().read() as session:
                running = [job for job in jobs.active_jobs(session) if job.state == "running"]
                self.most = max(self.most, sum(job.lane == "long" for job in running))

    def stop(self) -> None:
        self._ended.set()
        self.join()
