"""Text, and the models that read it."""

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from optbench import train
from runner import init
from runner.data.text import WHO, tales, text
from runner.errors import ConfigError
from runner.model import gpt, rnn
from runner.run.build import build
from runner.run.job import Job
from tests.support.records import Result

SMALL = ["data=text", "data.characters=4000", "data.context=16", "model.width=16", "batch.size=8"]


def test_tales_are_the_same_each_time_and_their_verbs_agree() -> None:
    told = tales(20000)
    assert len(told) == 20000 and told.startswith(tales(5000))
    plain = re.findall(r"[Tt]he (?:\w+ )?(\w+) (mends?|paints?|hides?) the", told)
    alone = [(noun, verb) for noun, verb in plain if noun.rstrip("s") in WHO]
    assert len(alone) > 50
    assert all(noun.endswith("s") != verb.endswith("s") for noun, verb in alone)


def test_windows_do_not_overlap_and_targets_are_one_character_further() -> None:
    source = text(path=None, characters=4000, context=16, test_fraction=0.1)
    assert source.alphabet is not None
    x, y = source.samples.x, source.samples.y
    read = "".join(source.alphabet[c] for c in x.ravel())
    assert tales(4000).startswith(read)
    assert (x.ravel()[1:] == y.ravel()[:-1]).all()


def test_a_file_of_ones_own(folder: Path, job: Callable[..., Job]) -> None:
    (folder / "own.txt").write_text("naïve Bären " * 200, encoding="utf-8")
    run = build(job("data=text", "data.path=own.txt", "data.context=8", "model=gpt", "batch.size=8"))
    assert run.interface["alphabet"] == "".join(sorted(set("naïve Bären ")))
    (folder / "odd.bin").write_bytes(b"\xff\xfe" * 100)
    with pytest.raises(ConfigError, match=r"odd\.bin cannot be read as UTF-8 text"):
        text(path="odd.bin", characters=1000, context=8, test_fraction=0.1)
    with pytest.raises(ConfigError, match=r"data\.context=500 cuts 1000 characters into 1 windows"):
        text(path=None, characters=1000, context=500, test_fraction=0.1)


@pytest.mark.parametrize("build_model", [gpt, rnn])
def test_a_prediction_depends_on_no_later_character(build_model: Callable) -> None:
    settings = {"heads": 2, "activation": "gelu"} if build_model is gpt else {"kind": "lstm"}
    torch.manual_seed(0)
    model = build_model((12,), 5, alphabet="abcde", width=8, depth=2, **settings).double()
    x = torch.randint(5, (3, 12))
    later = x.clone()
    later[:, 7:] = (later[:, 7:] + 1) % 5
    before, after = model(x), model(later)
    assert before.shape == (3, 12, 5)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_attention_is_the_published_formula() -> None:
    torch.manual_seed(0)
    attention = gpt((6,), 4, alphabet="abcd", width=8, depth=1, heads=2, activation="gelu").double().blocks[0].attention
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    heads = []
    for head in range(2):
        columns = slice(4 * head, 4 * head + 4)
        q, k, v = (layer(x)[0][:, columns] for layer in (attention.query, attention.key, attention.value))
        scores = (q @ k.T / math.sqrt(4)).masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(1) @ v)
    assert torch.allclose(attention(x)[0], attention.out(torch.cat(heads, 1)))


def test_an_images_rows_and_a_signals_points_are_read_in_turn() -> None:
    model = rnn((3, 8, 5), 10, alphabet=None, kind="gru", width=4, depth=1)
    assert model.layers[0].input_size == 15
    x = torch.randn(2, 3, 8, 5)
    rows = torch.stack([x[:, :, i].flatten(1) for i in range(8)], 1)
    assert torch.allclose(model(x), model.readout(model.layers[0](rows)[0][:, -1]))
    assert rnn((1, 40), 10, alphabet=None, kind="rnn", width=4, depth=1).layers[0].input_size == 1
    assert rnn((30,), 2, alphabet=None, kind="lstm", width=4, depth=2)(torch.randn(3, 30)).shape == (3, 2)


def test_initializers_fill_recurrent_weights_gate_by_gate() -> None:
    def built() -> torch.nn.Module:
        return rnn((8, 60), 10, alphabet=None, kind="lstm", width=60, depth=1)

    model = init.construct(
        built, 0, lambda weight, generator: init.orthogonal(weight, generator, gain=1.0), 0.5, torch.zeros
    )
    for gate in model.layers[0].weight_hh_l0.split(60):
        assert torch.allclose(gate @ gate.T, torch.eye(60), atol=1e-5)
    assert (model.layers[0].bias_ih_l0 == 0.5).all() and (model.readout.bias == 0.5).all()


@pytest.mark.parametrize("model", ["gpt", "rnn"])
def test_text_trains_resumes_and_predicts(model: str, optbench: Callable[..., Result], folder: Path) -> None:
    result = optbench("train", *SMALL, f"model={model}", "epochs=2", "init=normal", "init.std=0.05")
    assert result.code == 0, result.err
    (run,) = (folder / "outputs" / "default").glob("normal-*")
    rows = list(csv.DictReader(optbench("predict", str(run)).out.splitlines()))
    assert all(len(row["target"]) == 1 and len(row["prediction"]) == 1 for row in rows)
    (folder / "begun.txt").write_text("The old bak\n")
    ended = list(csv.DictReader(optbench("predict", str(run), "--input", "begun.txt").out.splitlines()))
    assert len(ended) == 1 and 0 < float(ended[0]["probability"]) <= 1
    (folder / "begun.txt").write_text("§")
    unknown = optbench("predict", str(run), "--input", "begun.txt")
    assert unknown.code == 2 and "['§']" in unknown.err


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=text"], "model=mlp reads numbers, and texts are characters: use model=gpt or model=rnn"),
        (["model=gpt"], "model=gpt reads characters: use data=text"),
        (["data=text", "model=gpt", "data.normalize=minmax"], "data.normalize=minmax beside a text"),
        (["data=text", "model=gpt", "model.heads=7"], "model.heads must divide model.width=64, got 7"),
    ],
)
def test_what_does_not_fit_is_refused(
    overrides: list[str], said: str, optbench: Callable[..., Result], folder: Path
) -> None:
    result = optbench("train", *overrides)
    assert result.code == 2 and said in result.err and not (folder / "outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt", "rnn"])
def test_a_longer_memory_beats_a_bigram_model(model: str, job: Callable[..., Job]) -> None:
    asked = ["data=text", "epochs=4", "batch.size=16", "optim.lr=0.003", f"model={model}"]
    run = build(job(*asked))
    counts = np.full((len(run.interface["alphabet"]),) * 2, 0.1)
    np.add.at(counts, (run.train.x.ravel().numpy(), run.train.y.ravel().numpy()), 1)
    likely = (counts / counts.sum(1, keepdims=True))[run.val.x.ravel().numpy(), run.val.y.ravel().numpy()]
    summary = train(*asked).summary
    assert summary["final_val_perplexity"] < np.exp(-np.log(likely).mean())


def test_what_is_left_of_a_file_is_said_and_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_bytes(b"\xef\xbb\xbf" + b"a tale of two. " * 40)
    asked = {"path": str(file), "context": 10, "test_fraction": 0.2}
    whole, cut = (text(characters=n, **asked) for n in (10_000, 200))
    assert whole.notes == () and whole.alphabet is not None
    assert set(whole.alphabet) == set("a tale of two. ")
    assert cut.notes == (f"data.path={file}: 200 of its 600 characters are used, as data.characters says",)
