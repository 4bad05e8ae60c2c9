"""Training of a student from good images only."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.alignment import aligned_images, fit_alignment, without_part
from skrd4ad.data.images.levels import levels_of
from skrd4ad.digests import content_digest, image_digest
from skrd4ad.documents import to_plain
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import require_writable
from skrd4ad.inference.feature_cache import FeatureCache, cache_features
from skrd4ad.inference.reference import save_reference
from skrd4ad.model_folder.calibration import calibrate, this_moment
from skrd4ad.model_folder.folder import run_folder
from skrd4ad.model_folder.info import PATCH_IMAGES, ModelInfo, read_info, train_values, versions
from skrd4ad.model_folder.network import save_model
from skrd4ad.model_folder.resume_state import TrainState, read_record, restore_state
from skrd4ad.model_folder.seen_images import record_of_images, split_holdout
from skrd4ad.model_folder.unfinished import MARKER, finish, is_unfinished, state_file, unfinished_runs
from skrd4ad.models.devices import choose_device, training_type
from skrd4ad.models.skrd import build_student
from skrd4ad.models.teachers import build_teacher
from skrd4ad.models.weights import weights_digest
from skrd4ad.task import QUIET, Task
from skrd4ad.training.first_look import save_first_look
from skrd4ad.training.loop import Loop, TrainProgress, holdout_scores, require_both_classes
from skrd4ad.training.normality import fit_normality, memory_bank
from skrd4ad.training.reference import cached_embeddings, make_reference, measure
from skrd4ad.training.warm_start import WarmStart, read_parent_model, record_of_start
from skrd4ad.types import Align, Alignment, DatasetClass, Levels, Sample


def train(
    data: DatasetClass,
    *,
    model: ModelConfig,
    config: TrainConfig,
    out: Path,
    source: str,
    weights: Path | None = None,
    resume: bool = False,
    start: WarmStart | None = None,
    levels: Levels | None = None,
    complete: bool = True,
    task: Task = QUIET,
    device: str = "auto",
) -> ModelInfo:
    """Train a student on the good images of a class and write its model folder.

    The state is stored after every epoch. The same seed, data and settings give the same weights, also when the
    training was stopped and resumed in between (on one kind of machine, with the same number of threads).

    Args:
        data: the class; only ``train`` good images are learnt from.
        source: what was given as the data, for the record: a path, ``elpv`` or ``synthetic``.
        resume: go on with the newest unfinished training of the same class, data and settings, if there is one.
        start: a trained student to go on from, and the images it may learn from and hold out now, in place of those of
            ``data``; None begins anew.
        levels: black and white of images above 8 bit; None takes them from the training images. A training that goes on
            keeps those of its start.
        complete: whether the model is complete then. If not, it is listed nowhere before
            :func:`skrd4ad.model_folder.unfinished.finish`, and a resumed training gives it as it is.
        task: its reports have a :class:`TrainProgress`, its points are the epochs.
    """
    if config.selection == "test":
        require_both_classes(data)
    if start is None:
        learn, held_out = split_holdout(data.train, share=config.holdout, seed=config.seed)
    else:
        learn, held_out = start.split(config)
    contents: dict[Path, str] = {}
    for sample in learn + held_out:
        task.check()
        contents[sample.path] = image_digest(sample.path)
    learn = _without_copies(learn, held_out, contents)
    levels = _levels(levels, start, learn + held_out)
    alignment, missing = _alignment(config, model, start, learn + held_out, levels, task)
    learn, held_out = (tuple(s for s in samples if s.path not in missing) for samples in (learn, held_out))
    config = replace(config, epochs=config.epochs_for(len(learn)), align=_asked_of(config.align, alignment))
    fetching = _recorded(task.part(0, 0.02), TrainProgress(phase="weights"))
    teacher = build_teacher(model.net, weights=weights, task=fetching)
    teacher_digest = weights_digest(teacher)
    student = build_student(model, seed=config.seed)
    parent = None
    if start is not None:
        parent = read_parent_model(start.folder, student, model=model, teacher_digest=teacher_digest)
    record = TrainState(
        settings={
            "model": to_plain(model),
            "train": train_values(config),
            "data_digest": content_digest("".join(sorted(contents[s.path] for s in learn + held_out))),
            # renamed files may be split and shuffled otherwise, and then a training cannot go on
            "split_digest": content_digest(
                "".join([contents[s.path] for s in learn] + ["held out"] + [contents[s.path] for s in held_out])
            ),
            "teacher_digest": teacher_digest,
        }
        | ({} if parent is None else {"parent_digest": parent.digest})
        | ({} if levels is None else {"levels": to_plain(levels)})
        | ({} if alignment is None else {"alignment": to_plain(alignment)})
    )
    run = run_folder(out, dataset=data.dataset, class_name=data.name, model=model)
    require_writable(run.parent)
    chosen = choose_device(device)
    dtype = training_type(config.precision, net=model.net, device=chosen)
    teacher.to(chosen)
    student.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(student.parameters(), lr=config.learning_rate, betas=(0.5, 0.999), fused=True)
    best: dict[str, Tensor] = {}
    for earlier in unfinished_runs(run.parent) if resume else []:
        if read_record(state_file(earlier)).settings == record.settings:
            if is_unfinished(earlier):
                return read_info(earlier)
            run = earlier
            record, best = restore_state(state_file(run), student=student, optimizer=optimizer)
            break

    reading = _recorded(
        task.part(0.02, 0.1, "reading image {done} of {total}"), TrainProgress(phase="reading", epochs=config.epochs)
    )

    def cached(samples: Sequence[Sample], first: int, dtype: torch.dtype) -> FeatureCache:
        total = len(learn) + len(held_out)
        shown = Task(show=lambda at: reading.report(first + at.done, total), check=task.check)
        return cache_features(
            teacher,
            samples,
            image_size=model.image_size,
            levels=levels,
            alignment=alignment,
            task=shown,
            dtype=dtype,
        )

    with (
        cached(learn, 0, dtype) as learning,
        cached(held_out, len(learn), torch.float32) if held_out else nullcontext() as holding,
    ):
        # before the epochs: the files are still in the system's cache, and one that vanished costs no training
        statistics, thumbnails, places = measure(
            learn + held_out, image_size=model.image_size, levels=levels, alignment=alignment, task=task
        )
        reference = make_reference(
            statistics,
            task.beside(lambda: cached_embeddings((learning, holding))),
            image_size=model.image_size,
            thumbnails=thumbnails,
            places=places,
        )
        aligned = [] if alignment is None else aligned_images(held_out, alignment, size=model.image_size, levels=levels)
        held_out_text = "held-out good images of training" if start is None else start.held_out_text
        info = ModelInfo(
            dataset=data.dataset,
            class_name=data.name,
            model=model,
            train=config,
            teacher_digest=teacher_digest,
            levels=levels,
            alignment=alignment,
            data={
                "source": source,
                "layout": data.layout,
                "n_train": len(learn),
                "n_holdout": len(held_out),
                "image_width": reference.width,
                "image_height": reference.height,
                "digest": record.settings["data_digest"],
                "licence": data.licence,
                "note": data.note if start is None else start.note_after(data.note),
            }
            # what the patches' indices mean, so that the good part that a position was compared with can be shown
            | ({PATCH_IMAGES: [contents[s.path] for s in learn]} if model.retrieval else {})
            | (
                record_of_images(learn, held_out, contents)
                if start is None or parent is None
                else record_of_start(start, parent, learnt=learn, contents=contents)
            ),
            test_selected=config.selection == "test",
            environment=versions() | {"training": f"{'bf16' if dtype == torch.bfloat16 else 'fp32'} on {chosen.type}"},
        )
        bank = memory_bank(learning, seed=config.seed, task=task) if model.retrieval else None
        first_look = None
        # who goes on from a model has that one to inspect with
        if bank is not None and holding is not None and start is None:
            first_look = str(
                save_first_look(
                    run,
                    info,
                    reference,
                    student=student,
                    bank=bank,
                    learning=learning,
                    holding=holding,
                    aligned=aligned,
                )
            )
        loop = Loop(
            data=data,
            model=model,
            config=config,
            teacher=teacher,
            student=student,
            optimizer=optimizer,
            learning=learning,
            holding=holding,
            record=record,
            best=best,
            task=task.part(0.1, 0.9),
            first_look=first_look,
            levels=levels,
            alignment=alignment,
        )
        loop.run(state_file(run))
        finishing = task.part(0.9, 1, "finishing")
        done = TrainProgress(phase="finishing", epoch=config.epochs, epochs=config.epochs)
        finishing.report(0, 1, eta_seconds=0.0, record=done)
        if loop.best:
            student.load_state_dict(loop.best)
        normality = fit_normality(student, learning, model=model, seed=config.seed, bank=bank, task=finishing)
        scores = []
        if holding is not None:
            scores = holdout_scores(
                student, holding, size=model.image_size, normality=normality, aligned=aligned, task=finishing
            )
    # the teacher may be shared, and what is stored comes from ordinary memory
    for part in (teacher, student, normality):
        if part is not None:
            part.to("cpu")

    info = replace(
        info,
        created_at=this_moment(),
        history=tuple(record.history),
        selected_epoch=record.best_epoch if loop.best else config.epochs,
        training_seconds=round(record.seconds, 1),
        calibration=calibrate(scores, data=f"{len(scores)} {held_out_text}", who="training") if scores else None,
    )

    def more(folder: Path) -> None:
        save_reference(folder, reference)
        if not complete:
            (folder / MARKER).touch()

    saved = save_model(run, info=info, student=student.state_dict(), normality=normality, more=more)
    if complete:
        finish(run)
    return saved


def _levels(given: Levels | None, start: WarmStart | None, samples: Sequence[Sample]) -> Levels | None:
    if start is None:
        return given or levels_of(sample.path for sample in samples)
    kept = read_info(start.folder).levels
    if given not in (None, kept):
        raise ConfigError(
            f"The levels are {given}, and {start.folder.name} has {kept or 'the full range of its files'}; a training "
            "that goes on keeps them. Leave them out, or train anew."
        )
    return kept


def _alignment(
    config: TrainConfig,
    model: ModelConfig,
    start: WarmStart | None,
    samples: Sequence[Sample],
    levels: Levels | None,
    task: Task,
) -> tuple[Alignment | None, frozenset[Path]]:
    """How photographs are aligned, and those without a part, which cannot be learnt from then. A training that goes on
    keeps what its start has."""
    if start is None:
        return fit_alignment(samples, config.align, size=model.image_size, levels=levels, task=task)
    kept = read_info(start.folder).alignment
    return kept, frozenset() if kept is None else without_part(samples, levels=levels, task=task)


def _asked_of(asked: Align, alignment: Alignment | None) -> Align:
    """What is recorded of the setting: off where nothing came of it, so that the model is as one of earlier builds."""
    return "off" if alignment is None else "auto" if asked == "off" else asked


def _without_copies(
    learn: tuple[Sample, ...], held_out: tuple[Sample, ...], contents: Mapping[Path, str]
) -> tuple[Sample, ...]:
    """Images to learn from that are no copies of held-out ones: the thresholds rest on images never seen."""
    unseen = {contents[sample.path] for sample in held_out}
    left = tuple(sample for sample in learn if contents[sample.path] not in unseen)
    if len(left) < 2:
        raise DataError(
            f"Of {len(learn)} good images to learn from, {len(learn) - len(left)} are copies of held-out ones; "
            "training needs at least 2 others (20 or more are advisable). Add different good images to the class."
        )
    return left


def _recorded(task: Task, record: TrainProgress) -> Task:
    """The task with this record in its reports."""
    return replace(task, show=lambda at: task.show(replace(at, record=record)))
