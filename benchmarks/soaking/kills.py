"""The app and its workers are killed while somebody labels, calibrates, and trains."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Browser, Error

from benchmarks.soaking.app import App, World, kill_workers, new_world, running
from benchmarks.soaking.client import ENDLESS, AppDied, Client, StepMissing, chromium
from benchmarks.soaking.journal import (
    Figure,
    Journal,
    broken_models,
    complete_models,
    half_listed,
    none_of,
    training_states,
)
from skrd4ad.files import SWEEP_SECONDS
from skrd4ad.model_folder.folder import find_models
from skrd4ad.services.leftovers import sweep_leftovers

EPOCHS = (2, 20, ENDLESS)
"""Of a training that is to be killed: the shorter ones come to their end in between."""
LAST_EPOCHS = 3
VICTIMS = ("the app", "the worker", "both")


def soak(root: Path, *, kills: int, seed: int) -> list[Figure]:
    """Kill so many times, a third each while labelling, calibrating and training."""
    chance = random.Random(seed)
    problems: list[str] = []
    lost: list[str] = []
    counts = dict.fromkeys(("labelling", "calibrating", "training"), 0)
    victims = dict.fromkeys(VICTIMS, 0)
    with new_world(root, images=20 * kills + 20, seed=seed) as world, chromium() as browser, running(world) as app:
        journal = Journal(root / "journal.jsonl")
        whole = set(find_models(root / "models"))
        logged = 0
        for turn in range(kills):
            what = list(counts)[turn % 3]
            client = Client(browser, app, journal, name=f"Anna {turn}")
            victim = "the app" if what != "training" else chance.choice(VICTIMS)
            try:
                _work_until_killed(client, what, victim, chance)
            except StepMissing as error:
                problems.append(f"{what}: {error}")
                _kill(app, world, "the app")
            counts[what] += 1
            victims[victim] += 1
            problems += client.problems
            lost += journal.lost(world.model)
            lost += [f"broken: {reason}" for reason in broken_models()]
            listed = set(find_models(root / "models"))
            lost += [problem for folder in listed - whole for problem in half_listed(folder)]
            whole |= listed
            with suppress(Error):
                client.close()
            if not app.lives:
                app.start()
            print(f"kill {turn + 1} of {kills}: {victim} while {what}; {journal.confirmed} steps confirmed", flush=True)
        # without the model of this workspace
        models = len(complete_models()) - 1
        left_over = _finish(browser, app, journal, problems, lost, trained=counts["training"] > 0)
        logged = app.tracebacks()
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    return [
        Figure("kills (-9)", f"{kills} ({told}; of {', '.join(f'{n} {v}' for v, n in victims.items())})", "100", True),
        Figure("labels and calibrations confirmed", str(journal.confirmed), "–", True),
        Figure("trainings that became models between kills", str(models), "–", True),
        none_of("confirmed and lost, models half listed", lost),
        none_of("tracebacks on a page, steps that did not come", problems),
        Figure("tracebacks in the log of the app", str(logged), "0", logged == 0),
        none_of("temporary files left after the last start", left_over),
    ]


def _work_until_killed(client: Client, what: str, victim: str, chance: random.Random) -> None:
    app, world, journal = client.app, client.app.world, client.journal
    with suppress(AppDied):
        if what == "labelling":
            client.open_label()
        elif what == "calibrating":
            client.open_calibrate()
        elif journal.awaits_model:
            client.go_on_training()
        else:
            journal.training()
            client.start_training(world.parts / "machined_disc", epochs=chance.choice(EPOCHS))
            client.wait(lambda: client.epoch is not None or not journal.awaits_model, "an epoch")
        timer = threading.Timer(chance.uniform(0.1, 10.0), _kill, (app, world, victim))
        timer.start()
        try:
            while app.lives and (victim == "the app" or timer.is_alive()):
                if what == "labelling":
                    client.decide(chance)
                elif what == "calibrating":
                    client.calibrate()
                else:
                    if (epoch := client.epoch) is not None:
                        journal.epoch(epoch - 1)
                    time.sleep(0.05)
        except Error:
            if app.lives:
                raise
        finally:
            timer.join()


def _kill(app: App, world: World, victim: str) -> None:
    if victim != "the worker":
        app.kill()
    if victim != "the app":
        kill_workers(world)


def _finish(
    browser: Browser, app: App, journal: Journal, problems: list[str], lost: list[str], *, trained: bool
) -> list[str]:
    """The training that was killed goes on and is ended, another one becomes a model. Returns leftovers."""
    world = app.world
    client = Client(browser, app, journal, name="Anna")
    models = world.root / "models"
    try:
        if trained:
            if journal.awaits_model:
                client.go_on_training()
            # past its epochs it becomes a model, also when it is cancelled, then without figures
            if client.epoch is not None:
                client.page.get_by_role("button", name="Cancel").first.click()
            client.wait(lambda: "running" not in training_states(), "the end of the training")
            lost += journal.lost(world.model)
            before = set(find_models(models))
            journal.training()
            client.start_training(world.parts / "machined_disc", epochs=LAST_EPOCHS)
            client.wait(lambda: not journal.awaits_model, "the model of a training")
            client.wait(lambda: len(set(find_models(models)) - before) == 1, "the end of its first look")
            lost += [problem for folder in set(find_models(models)) - before for problem in half_listed(folder)]
        client.settle()
    except (StepMissing, Error) as error:
        problems.append(str(error))
    problems += client.problems
    lost += journal.lost(world.model)
    client.close()
    app.stop()
    kill_workers(world)
    sweep_leftovers()
    return [str(path) for path in _temporary(world)]


def _temporary(world: World) -> Iterator[Path]:
    """What killed writes left, as old as the app waits before it takes a file for that."""
    for folder in (world.home, world.root / "models"):
        yield from (path for path in folder.rglob(".*.part") if time.time() - path.lstat().st_mtime > SWEEP_SECONDS)
