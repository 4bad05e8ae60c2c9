"""The kinds of background jobs by name. What does their work is imported by the worker that runs it, not before."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from skrd4ad.errors import ConfigError
from skrd4ad.services.jobs.handle import JobHandle

Work = Callable[[JobHandle], Mapping[str, Any]]
"""Does a job and returns its result, which must have a JSON form."""

KINDS = {
    "train": "skrd4ad.services.improve.retrain:TRAINING",
    "evaluate": "skrd4ad.services.evaluation.evaluate:EVALUATION",
    "compare": "skrd4ad.services.evaluation.compare:COMPARISON",
    "compare-labels": "skrd4ad.services.improve.compare:LABEL_COMPARISON",
    "export": "skrd4ad.services.models.export_job:EXPORT",
    "score": "skrd4ad.services.labelling.score_queue:SCORING",
    "study": "skrd4ad.services.study.store:STUDY",
    "labels": "skrd4ad.services.labelling.exchange.import_job:IMPORT",
}
"""Module and attribute of each :class:`skrd4ad.services.jobs.kind.JobKind`."""
ON_CLUSTER = ("train", "evaluate", "compare", "compare-labels")
"""Kinds that a Ray cluster does where ``SKRD4AD_RAY_ADDRESS`` names one."""


def find_work(kind: str, request: Mapping[str, Any], *, again: bool) -> Work:
    """What a job of a kind does, here or by the cluster that the environment names.

    Raises:
        ConfigError: there is no such kind.
        DocumentError: the request is damaged.
    """
    here = work_here(kind, request, again=again)
    if kind not in ON_CLUSTER or not os.environ.get("SKRD4AD_RAY_ADDRESS"):
        return here
    there: Work = import_module("skrd4ad.cluster.jobs").work_there(kind, request, again=again)
    return there


def work_here(kind: str, request: Mapping[str, Any], *, again: bool) -> Work:
    """What a job of a kind does, in this process.

    Raises:
        ConfigError: there is no such kind, as when a newer version of the program asked for it.
        DocumentError: the request is damaged.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"The job is of the kind {kind!r}, which this version does not know; known: {', '.join(KINDS)}. Run it "
            "with the version that asked for it."
        )
    module, _, attribute = KINDS[kind].partition(":")
    work: Work = getattr(import_module(module), attribute).work_of(request, again=again)
    return work
