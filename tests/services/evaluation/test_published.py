import pytest

from skrd4ad.services.evaluation.published import METHODS, PROTOCOL_DIFFERENCE, published_for


@pytest.mark.parametrize(
    ("dataset", "class_name", "metric", "values"),
    [
        ("mvtec", "carpet", "pixel_auroc", (0.989, 0.992)),
        ("MVTec AD", "Bottle", "aupro_paper", (0.966, 0.969)),
        ("mvtec_anomaly_detection", "hazelnut", "aupro_paper", (0.955, 0.962)),
        ("mvtec_full_size", "leather", "pixel_auroc", (0.994, 0.996)),
        ("VisA", "pcb1", "aupro_paper", (0.432, 0.937)),
        ("visa_pytorch", "pipe_fryum", "aupro_paper", (0.683, 0.948)),
        ("visa-256x256", "PCB4", "pixel_auroc", (0.982, 0.986)),
        ("VAD", "vad", "image_auroc", (0.845, 0.870)),
    ],
)
def test_figures_are_those_of_the_papers(dataset, class_name, metric, values):
    match = published_for(dataset, class_name)
    assert match is not None and not match.by_name_only
    assert tuple(match.value(method, metric) for method in METHODS) == values
    assert match.value("RD4AD", "image_ap") is None


def test_a_class_alone_matches_with_a_word_of_warning():
    match = published_for("line_3", "hazelnut")
    assert match.by_name_only
    assert "by the name of the class alone" in match.text
    assert not published_for("mvtec", "hazelnut").by_name_only


@pytest.mark.parametrize(
    ("dataset", "class_name"),
    [
        ("mvtec", "screw"),  # of the data set, but not among the figures
        ("mvtec", "pcb1"),  # of another data set
        ("visa", "bottle"),
        ("mvtec", "mean"),
        ("parts", "mean"),
        ("parts", "vad"),
        ("parts", "disc"),
        ("elpv", "bottle"),
        ("synthetic", "carpet"),
        ("mvtec_loco_anomaly_detection", "bottle"),
        ("MVTec 3D-AD", "carpet"),
        ("mvtec_ad_2", "hazelnut"),
        ("", "disc"),
    ],
)
def test_what_was_not_published_matches_nothing(dataset, class_name):
    assert published_for(dataset, class_name) is None


def test_the_difference_of_the_protocols_is_said_in_words():
    for words in ("best on the test set", "200 thresholds", "Wide ResNet-50-2", "paper protocol", "test-selected"):
        assert words in PROTOCOL_DIFFERENCE
