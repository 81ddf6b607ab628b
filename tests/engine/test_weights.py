"""Weights from elsewhere: files of them, torchvision's, and a last layer that is drawn anew."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import optbench as from_python
from runner.model import torchvision as networks
from runner.run.build import build
from runner.run.job import Job
from tests.support.records import Result, run_folder, summary_of

Make = Callable[..., Job]
SMALL = ["model.width=8", "model.depth=1"]
SQUEEZE = ["model=torchvision", "model.name=squeezenet1_1", "data.fraction=0.05"]


def state_of(job: Job) -> dict[str, torch.Tensor]:
    return build(job).construct().state_dict()


@pytest.fixture
def file(job: Make, folder: Path) -> Path:
    """The weights of a small network with another seed."""
    torch.save(state_of(job(*SMALL, "seed=7")), folder / "w.pth")
    return folder / "w.pth"


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("kind", ["plain", "safetensors", "below state_dict", "of DataParallel", "half precision"])
def test_a_files_weights_are_the_runs_first_ones(kind: str, job: Make, folder: Path) -> None:
    state = state_of(job(*SMALL, "seed=7"))
    path = folder / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "below state_dict":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif kind == "of DataParallel":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    else:
        state = {name: tensor.half() for name, tensor in state.items()} if kind == "half precision" else state
        torch.save(state, path)
    found = state_of(job(*SMALL, "init=pretrained", f"init.path={path}"))
    assert_equal(found, {name: tensor.float() for name, tensor in state.items()})


def test_a_file_is_known_by_its_content(job: Make, file: Path, folder: Path) -> None:
    asked = [*SMALL, "init=pretrained"]
    before = job(*asked, f"init.path={file}").run_id
    moved = file.rename(folder / "moved.pth")
    assert job(*asked, f"init.path={moved}").run_id == before
    torch.save(state_of(job(*SMALL, "seed=8")), moved)
    assert job(*asked, f"init.path={moved}").run_id != before


def test_a_head_is_drawn_by_its_initializer_whatever_the_file_has(job: Make, file: Path) -> None:
    saved = torch.load(file, weights_only=True)
    found = state_of(job(*SMALL, "init=pretrained", f"init.path={file}", "init.head=zeros"))  # of the same size
    assert not found["readout.weight"].any() and not found["readout.bias"].any()
    assert torch.equal(found["hidden.0.weight"], saved["hidden.0.weight"])
    torch.save({**saved, "readout.weight": torch.ones(1000, 8), "readout.bias": torch.ones(1000)}, file)
    drawn, again, other = (
        state_of(job(*SMALL, "init=pretrained", f"init.path={file}", "init.head=he_normal", f"seed={seed}"))
        for seed in (0, 0, 1)
    )
    assert drawn["readout.weight"].shape == (10, 8)
    assert torch.equal(drawn["readout.weight"], again["readout.weight"])
    assert not torch.equal(drawn["readout.weight"], other["readout.weight"])
    # He's variance is 2/fan_in, of 80 numbers; five standard errors.
    assert float(drawn["readout.weight"].var()) == pytest.approx(2 / 8, rel=5 * (2 / 80) ** 0.5)


def test_a_head_can_be_drawn_without_any_file(job: Make) -> None:
    plain, drawn = (state_of(job(*SMALL, *more)) for more in ([], ["init.head=zeros"]))
    assert not drawn["readout.weight"].any()
    assert torch.equal(plain["hidden.0.weight"], drawn["hidden.0.weight"])
    assert job().run_id != job("init.head=zeros").run_id


def test_a_run_from_a_file_trains_is_predicted_and_reported(
    file: Path, optbench: Callable[..., Result], folder: Path
) -> None:
    started = ["init=pretrained", f"init.path={file}", "max_steps=2"]
    assert optbench("train", *SMALL, *started).code == 0
    run = run_folder(folder)
    assert summary_of(run)["status"] == "completed"
    file.unlink()  # which its weights no longer need
    assert optbench("predict", str(run), "--part", "test").code == 0


def test_all_that_differs_is_said_in_one_message(file: Path, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", "model.width=16", "model.depth=1", "init=pretrained", f"init.path={file}")
    assert refused.code == 2 and "Traceback" not in refused.err
    assert (
        f"init.path={file} does not fit this model: hidden.0.weight is [8, 64] there and [16, 64] here" in refused.err
    )
    assert "hidden.0.bias is [8] there and [16] here" in refused.err
    deeper = optbench("train", "model.width=8", "model.depth=2", "init=pretrained", f"init.path={file}")
    assert "hidden.1.weight [8, 8] is not there" in deeper.err and "init.partial=true takes what fits" in deeper.err
    assert not Path("outputs").exists()


def test_a_head_of_another_size_is_told_how_it_can_be_drawn(job: Make, file: Path, optbench: Callable) -> None:
    torch.save(state_of(job(*SMALL)) | {"readout.weight": torch.ones(3, 8), "readout.bias": torch.ones(3)}, file)
    refused = optbench("train", *SMALL, "init=pretrained", f"init.path={file}")
    assert refused.code == 2 and "readout.weight is [3, 8] there and [10, 8] here" in refused.err
    assert "init.head=xavier_uniform" in refused.err


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of torchvision for the thousand classes of ImageNet."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(networks._network("squeezenet1_1", {}, 3, 1000).state_dict(), path)
    return path


def own_pictures(folder: Path) -> list[str]:
    from PIL import Image

    for name, colour in (("blue", (20, 30, 220)), ("red", (220, 30, 20))):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (32, 32), (*colour[:2], 200 + i)).save(folder / "pictures" / name / f"{i}.png")
    return ["data=image_folder", "data.path=pictures", *SQUEEZE[:2], "batch.size=4", "max_steps=1"]


def test_a_network_of_torchvision_takes_a_files_weights_and_a_new_head(
    squeeze: Path, job: Make, optbench: Callable[..., Result], folder: Path
) -> None:
    asked = [*own_pictures(folder), f"model.weights={squeeze}"]
    refused = optbench("train", *asked)
    assert refused.code == 2 and "classifier.1.weight is [1000, 512, 1, 1] there and [2, 512, 1, 1] here" in refused.err
    assert "init.head=" in refused.err and not Path("outputs").exists()
    saved = torch.load(squeeze, weights_only=True)
    found = state_of(job(*asked, "init.head=normal"))
    assert found["network.classifier.1.weight"].shape == (2, 512, 1, 1)
    for name in (name for name in saved if not name.startswith("classifier")):
        assert torch.equal(found[f"network.{name}"], saved[name])
    assert optbench("train", *asked, "init.head=normal").code == 0
    kept = from_python.load_model(run_folder(folder))
    assert kept.classes == 2


def test_weights_for_three_channels_do_not_fit_one(squeeze: Path, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", *SQUEEZE, f"model.weights={squeeze}", "init.head=zeros")
    assert refused.code == 2
    assert "features.0.weight is [64, 3, 3, 3] there and [64, 1, 3, 3] here" in refused.err


def test_published_weights_are_asked_of_torchvision(monkeypatch: pytest.MonkeyPatch, job: Make, folder: Path) -> None:
    from torchvision.models import SqueezeNet1_1_Weights

    torch.manual_seed(1)
    published = networks._network("squeezenet1_1", {}, 3, 1000).state_dict()
    monkeypatch.setattr(SqueezeNet1_1_Weights, "get_state_dict", lambda self, **given: published)
    network = networks.from_torchvision((3, 32, 32), 1000, name="squeezenet1_1", args={}, size=None, weights="DEFAULT")
    assert_equal(network.network.state_dict(), published)


def test_published_weights_that_cannot_be_fetched_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import SqueezeNet1_1_Weights

    def offline(self: object, **given: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(SqueezeNet1_1_Weights, "get_state_dict", offline)
    with pytest.raises(
        ValueError, match=r"model\.weights=DEFAULT of squeezenet1_1 cannot be fetched: OSError: no route"
    ):
        networks.from_torchvision((3, 32, 32), 10, name="squeezenet1_1", args={}, size=None, weights="DEFAULT")


class Tied(nn.Module):
    """A last layer that has the weights of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight


def test_a_head_that_shares_its_weights_is_not_drawn() -> None:
    from runner import init

    with pytest.raises(ValueError, match=r"init\.head cannot draw last, which shares its weights"):
        init.construct(Tied, 0, None, 0.0, lambda: torch.zeros(1), head=init.zeros)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["init=pretrained"], "init=pretrained needs init.run, the folder of a run, or init.path, a file of weights"),
        (["init=pretrained", "init.run=a", "init.path=b"], "init.run=a and init.path=b both say which weights"),
        (["init=pretrained", "init.path=nowhere.pth"], "init.path: nowhere.pth cannot be read: No such file"),
        (["init=pretrained", "init.path=text.pth"], "init.path=text.pth holds something else than tensors"),
        (["init=pretrained", "init.path=module.pth"], "init.path=module.pth holds something else than tensors"),
        (["init=pretrained", "init.path=numbers.pth"], "init.path=numbers.pth holds no weights"),
        (["init=pretrained", "init.path=text.safetensors"], "init.path=text.safetensors is no file of safetensors"),
        (["init.head=he"], "did you mean 'he_normal'?"),
        (["init=he", "init.head=zeros"], "init.head is a setting of init=default, pretrained"),
        (["init.head=zeros", "model.mup=true"], "init.head=zeros beside model.mup=true"),
        ([*SQUEEZE, "model.weights=text.pth"], "model.weights=text.pth holds something else than tensors"),
        ([*SQUEEZE, "model.weights=text.pth", "init=he"], "model.weights=text.pth beside init=he_normal"),
        ([*SQUEEZE, "model.weights=DEFAULT"], "model.weights=DEFAULT is fetched from the network"),
        (["weights=w.pth"], "did you mean init=pretrained init.path=w.pth?"),
    ],
    ids=str,
)
def test_weights_that_cannot_be_taken_are_refused(
    overrides: list[str], said: str, optbench: Callable[..., Result], folder: Path
) -> None:
    for name in ("text.pth", "text.safetensors"):
        Path(name).write_text("no weights")
    torch.save(nn.Linear(2, 2), "module.pth")  # a pickle of code, which is not run
    torch.save({"lr": 0.1}, "numbers.pth")
    refused = optbench("train", "max_steps=1", *overrides)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err, refused.err
    assert not Path("outputs").exists()
