import pytest
import torch
from torch.nn import functional as F

from skrd4ad.models.normality import enlarged


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (13, 29), (256, 256), (1, 1)])
@pytest.mark.parametrize("sides", [(8, 8), (5, 7), (1, 3)])
def test_enlarging_is_bilinear_interpolation_with_aligned_corners(
    sides: tuple[int, int], size: tuple[int, int]
) -> None:
    planes = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(planes.double(), size=size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(enlarged(planes, size).double(), expected, rtol=1e-5, atol=1e-6)


def test_planes_of_the_size_already_are_untouched() -> None:
    planes = torch.randn(1, 1, 4, 4)
    assert enlarged(planes, (4, 4)) is planes
