"""One training step: this package, from cached features, against the published procedure. From the project's folder::

    python -m benchmarks.training            wide_res50, batch of 16, random teacher
    python -m benchmarks.training --lite0    efficientnet_lite0, against itself with the teacher at every step

The published step runs the whole teacher, with the stage nobody uses, and the student in fp32 with plain Adam.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.plain import SIZE, WIDE, in_turn, ours_of, parser_of, plain_step, plain_wide, print_table
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.model_folder.resume_state import TrainState
from skrd4ad.models.skrd import build_student
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.task import QUIET
from skrd4ad.training.loop import Loop
from skrd4ad.types import DatasetClass


def our_loop(teacher: Teacher, model: ModelConfig, images: Tensor, dtype: torch.dtype) -> Loop:
    """What trains here, with the features of the images as one step's cache."""
    with torch.no_grad():
        levels = [f.permute(0, 2, 3, 1).to(dtype).contiguous() for f in teacher(images)]
    student = build_student(model, seed=0).to(memory_format=torch.channels_last).train()
    nothing: Any = None
    return Loop(
        data=DatasetClass(dataset="none", name="none", root=nothing, layout="none", samples=()),
        model=model,
        config=replace(TrainConfig(), batch_size=len(images)),
        teacher=teacher,
        student=student,
        optimizer=torch.optim.Adam(student.parameters(), lr=0.005, betas=(0.5, 0.999), fused=True),
        learning=FeatureCache(levels, mapped=False, device=torch.device("cpu")),
        holding=None,
        record=TrainState(settings={}),
        best={},
        task=QUIET,
    )


def main() -> None:
    parser = parser_of(__doc__, batch=16, rounds=3)
    parser.add_argument("--lite0", action="store_true")
    given = parser.parse_args()
    images = torch.randint(0, 256, (given.batch, 3, SIZE, SIZE), dtype=torch.uint8)
    if given.lite0:
        model = ModelConfig()
        ours: Teacher = build_teacher(model.net)
        whole, student = ours, build_student(model, seed=0)
    else:
        model = WIDE
        whole, student = plain_wide()
        ours = ours_of(whole, student).teacher
        student = build_student(model, seed=0)
    student.train()
    plain = torch.optim.Adam(student.parameters(), lr=0.005, betas=(0.5, 0.999))
    ways = {"as published, fp32, teacher at every step": lambda: plain_step(whole, student, plain, images)}
    for dtype in (torch.float32, torch.bfloat16):
        loop = our_loop(ours, model, images, dtype)
        ways[f"cached features, {str(dtype).removeprefix('torch.')}"] = lambda loop=loop: loop._epoch(1, 0.0)
    seconds = in_turn(ways, rounds=given.rounds)
    print_table(f"{model.net}, a step of {given.batch} images of {SIZE}x{SIZE}", seconds, per=given.batch)


if __name__ == "__main__":
    main()
