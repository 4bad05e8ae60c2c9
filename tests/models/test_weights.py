import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from skrd4ad.errors import WeightsError
from skrd4ad.models import weights
from skrd4ad.models.backbones import teacher_spec
from skrd4ad.models.weights import load_weights, weights_digest
from skrd4ad.task import Task

WAYS = ("--weights FILE", "SKRD4AD_WEIGHTS_DIR", "internet", "--net efficientnet_lite0")


class Server(ThreadingHTTPServer):
    """Serves ``body`` at any address with ``status``, and stops after ``sent`` bytes."""

    body = b""
    status = 200
    sent: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.sent])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download cache, without the weights folder and without a proxy."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("SKRD4AD_WEIGHTS_DIR", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def published(server: Server, random_teacher: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the file that the server publishes as the weights of res18."""
    server.body = random_teacher("res18").read_bytes()
    name = f"resnet18-{hashlib.sha256(server.body).hexdigest()[:8]}.pth"
    publish(monkeypatch, url=f"http://127.0.0.1:{server.server_port}/{name}", weights_file=name)
    return name


def publish(monkeypatch: pytest.MonkeyPatch, *, url: str, weights_file: str) -> None:
    def spec(net: str) -> object:
        return replace(teacher_spec(net), url=url, weights_file=weights_file)

    monkeypatch.setattr(weights, "teacher_spec", spec)


def assert_names_all_ways(message: str, file: str) -> None:
    for part in (*WAYS, file):
        assert part in message


def test_download_reports_progress_and_is_kept(server: Server, cache: Path, published: str) -> None:
    calls: list[tuple[int, int]] = []
    first = load_weights("res18", task=Task(show=lambda at: calls.append((at.done, at.total))))
    assert calls[-1] == (len(server.body), len(server.body))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert [path.name for path in cache.iterdir()] == [published]
    server.status = 500
    assert weights_digest(load_weights("res18")) == weights_digest(first)


def test_download_with_a_wrong_hash_is_refused_and_not_kept(server: Server, cache: Path, published: str) -> None:
    server.body = server.body[:-1] + b"?"
    with pytest.raises(WeightsError, match=r"another file than expected: its SHA-256 begins with") as caught:
        load_weights("res18")
    assert_names_all_ways(str(caught.value), published)
    assert list(cache.iterdir()) == []


def test_download_cut_off_is_refused_and_not_kept(server: Server, cache: Path, published: str) -> None:
    server.sent = 1000
    with pytest.raises(WeightsError, match=r"cut off after 1000 of \d+ bytes|IncompleteRead") as caught:
        load_weights("res18")
    assert_names_all_ways(str(caught.value), published)
    assert list(cache.iterdir()) == []


def test_download_of_a_missing_file_tells_the_answer(server: Server, cache: Path, published: str) -> None:
    server.status = 404
    with pytest.raises(WeightsError, match="answered 404 Not Found") as caught:
        load_weights("res18")
    assert_names_all_ways(str(caught.value), published)
    assert list(cache.iterdir()) == []


def test_no_connection_names_all_ways(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, url="http://127.0.0.1:9/x-00000000.pth", weights_file="x-00000000.pth")
    with pytest.raises(WeightsError, match="cannot be reached") as caught:
        load_weights("res18")
    assert_names_all_ways(str(caught.value), "x-00000000.pth")


def test_weights_folder_is_used_before_the_internet(
    cache: Path, tmp_path: Path, random_teacher: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / teacher_spec("res18").weights_file).write_bytes(random_teacher("res18").read_bytes())
    monkeypatch.setenv("SKRD4AD_WEIGHTS_DIR", str(tmp_path / "mine"))
    expected = torch.load(random_teacher("res18"), weights_only=True)
    assert weights_digest(load_weights("res18")) == weights_digest(expected)
    assert not cache.exists()


def test_explicit_safetensors_file_with_a_classifier_and_without_counters(
    tmp_path: Path, random_teacher: Callable[[str], Path]
) -> None:
    state = torch.load(random_teacher("res18"), weights_only=True)
    stored = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    save_file(
        {**stored, "fc.weight": torch.zeros(3, 512), "layer4.0.conv1.weight": torch.zeros(1)},
        tmp_path / "w.safetensors",
    )
    loaded = load_weights("res18", file=tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys()
    assert weights_digest(loaded) == weights_digest(state)


@pytest.mark.parametrize(
    ("net", "given", "problem"),
    [
        ("res18", "res34", r"layer1\.2\.conv1\.weight is not known.*it looks like weights of res34"),
        ("res34", "res18", r"layer1\.2\.conv1\.weight is missing.*it looks like weights of res18"),
        ("wide_res50", "res50", r"is \(64, 64, 1, 1\), not \(128, 64, 1, 1\).*it looks like weights of res50"),
        ("efficientnet_lite0", "res18", r"_conv_stem\.weight is missing.*it looks like weights of res18"),
    ],
)
def test_weights_of_another_net_are_named(
    net: str, given: str, problem: str, random_teacher: Callable[[str], Path]
) -> None:
    with pytest.raises(WeightsError, match=problem):
        load_weights(net, file=random_teacher(given))


def test_weights_of_no_net_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="fits no other teacher either"):
        load_weights("res18", file=tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("w.pth", None, "cannot be read: No such file"),
        ("w.pth", b"", "damaged or cut short"),
        ("w.pth", b"PK\x03\x04 and then nothing", "damaged or cut short"),
        ("w.pth", b"<html>Sign in</html>", "damaged or"),
        ("w.safetensors", b"\x08", "damaged or cut short"),
        ("w.zip", b"", r"allowed: \.pth, \.pt, \.safetensors"),
    ],
)
def test_unreadable_file_is_an_error_in_words(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=problem) as caught:
        load_weights("res18", file=tmp_path / name)
    assert_names_all_ways(str(caught.value), teacher_spec("res18").weights_file)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"model": {"a": torch.zeros(1)}}])
def test_file_that_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        load_weights("res18", file=tmp_path / "w.pth")


def test_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"Objects are never loaded.*model\.state_dict\(\)"):
        load_weights("res18", file=tmp_path / "w.pth")


def test_digest_sees_every_value_and_nothing_else() -> None:
    state = {"a.weight": torch.tensor([1.0, 2.0]), "a.num_batches_tracked": torch.tensor(3)}
    digest = weights_digest(state)
    assert digest == weights_digest({**state, "a.num_batches_tracked": torch.tensor(4)})
    assert digest == weights_digest(dict(reversed(state.items())))
    assert digest != weights_digest({**state, "a.weight": torch.tensor([1.0, 2.0000002])})
    assert digest != weights_digest({**state, "a.weight": torch.tensor([[1.0, 2.0]])})
    assert digest != weights_digest({"b.weight": state["a.weight"]})


def test_digest_of_a_module_is_that_of_its_state_dict() -> None:
    module = nn.BatchNorm2d(2)
    assert weights_digest(module) == weights_digest(module.state_dict())
    assert len(weights_digest(module)) == 16
