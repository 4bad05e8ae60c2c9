"""The app on PostgreSQL, whose server is stopped and started while somebody labels and a model is trained."""

import random
from pathlib import Path

from playwright.sync_api import Error

from benchmarks.soaking.app import kill_workers, new_world, running
from benchmarks.soaking.client import ENDLESS, Client, StepMissing, chromium
from benchmarks.soaking.journal import Figure, Journal, none_of, training_states
from tests.postgres_server import running_postgres

DECISIONS = 5
"""Between two restarts."""
AWAY = (0.5, 8.0)
"""Seconds that the server is away."""
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def soak(root: Path, *, restarts: int, seed: int) -> list[Figure]:
    """Stop the server so many times, every second time as a crash."""
    chance = random.Random(seed)
    problems: list[str] = []
    crashes = 0
    with running_postgres(**DURABLE) as server, server.new_database() as name:
        url = server.url(name)
        with (
            new_world(root, images=DECISIONS * (restarts + 2) + 20, seed=seed, SKRD4AD_DATABASE_URL=url) as world,
            running(world) as app,
            chromium() as browser,
        ):
            journal = Journal(root / "journal.jsonl")
            trainer = Client(browser, app, journal, name="Bob")
            trainer.start_training(world.parts / "machined_disc", epochs=ENDLESS)
            trainer.wait(lambda: trainer.epoch is not None, "an epoch")
            client = Client(browser, app, journal, name="Anna")
            client.open_label()
            for turn in range(restarts):
                try:
                    for _ in range(DECISIONS):
                        client.decide(chance)
                    client.page.keyboard.press("g")  # on its way when the server goes
                    crashes += turn % 2
                    server.stop(crash=bool(turn % 2))
                    client.page.wait_for_timeout(1000 * chance.uniform(*AWAY))
                    client.page.keyboard.press("u")
                    client.page.wait_for_timeout(2000)
                    client.look()
                    trainer.look()
                    server.start()
                    client.open_label()
                    before = trainer.epoch or 0
                    trainer.wait(lambda b=before: (trainer.epoch or 0) > b, "another epoch")
                except (StepMissing, Error) as error:
                    problems.append(f"after restart {turn}: {error}")
                    server.start()
                    client.open_label()
            problems += client.problems + trainer.problems
            lost = journal.lost(world.model)
            states = training_states()
            client.close()
            trainer.close()
            kill_workers(world)
            logged = app.tracebacks()
    return [
        Figure("restarts of the server, of these crashes", f"{restarts}, {crashes}", "–", True),
        Figure("decisions confirmed between them", str(journal.confirmed), "–", True),
        Figure("the training beside them", ", ".join(states), "runs on", states == ["running"]),
        none_of("confirmed and lost", lost),
        none_of("tracebacks on a page, steps that did not come", problems),
        Figure("tracebacks in the log of the app", str(logged), "0", logged == 0),
    ]
