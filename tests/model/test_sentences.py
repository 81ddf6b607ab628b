"""Models of sentences: what they read and what not, and what tells them apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import nn

from optbench import train
from runner import init
from runner.data.vocabulary import PADDING, Corpus, Splitting, Vocabulary, read
from runner.engine.model import Drop
from runner.model import Bag, encoder, linear, mlp, rnn
from runner.noise import key, uniform
from runner.run.build import build
from tests.support.made_sentences import ASKED, by_order, by_presence
from tests.support.stacks import Make, assert_same, runs_of, three

TEXTS = ["the sun and the moon", "a dark night", "the sun is up and the night is over", "moon", "light on the hill"]
WORDS = Splitting("words", lowercase=True)


def known() -> tuple[Vocabulary, torch.Tensor]:
    x, tokens, _ = read(TEXTS, WORDS, 20)
    corpus = Corpus(WORDS, tokens, 100, 1)
    vocabulary = corpus.vocabulary(x)
    return vocabulary, torch.from_numpy(corpus.known(x, vocabulary))


def made(name: str, length: int = 9) -> nn.Module:
    vocabulary, _ = known()
    torch.manual_seed(0)
    blocks = {"width": 8, "depth": 2, "heads": 2, "activation": "gelu", "mup": False, "base_width": None}
    layers = {"width": 8, "depth": 1, "widths": [], "activation": "relu", "bias": True, "normalization": "none"}
    model = {
        "linear": lambda: linear((length,), 3, bias=True, vocabulary=vocabulary),
        "mlp": lambda: mlp((length,), 3, **layers, residual=False, bag="counts", vocabulary=vocabulary),
        "lstm": lambda: rnn((length,), 3, alphabet=None, kind="lstm", width=8, depth=2, vocabulary=vocabulary),
        "gru": lambda: rnn((length,), 3, alphabet=None, kind="gru", width=8, depth=1, vocabulary=vocabulary),
        "encoder": lambda: encoder((length,), 3, vocabulary=vocabulary, pool="mean", **blocks),
        "encoder of a class": lambda: encoder((length,), 3, vocabulary=vocabulary, pool="class", **blocks),
    }[name]()
    return model.double().eval()


MODELS = ["linear", "mlp", "lstm", "gru", "encoder", "encoder of a class"]


@pytest.mark.parametrize("name", MODELS)
def test_padding_is_not_read(name: str) -> None:
    model, (_, x) = made(name), known()
    together = model(x)
    for row, outputs in zip(x, together, strict=True):
        alone = model(row[row != PADDING][None])
        torch.testing.assert_close(alone[0], outputs, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.shape[0] == known()[0].size:  # whatever padding is embedded as
                parameter[PADDING] = 1e6
    torch.testing.assert_close(model(x), together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_padding_are_nothing(name: str) -> None:
    model, (vocabulary, x) = made(name), known()
    model(x).square().sum().backward()
    embedded = [p for p in model.parameters() if p.shape[0] == vocabulary.size]
    assert len(embedded) == (0 if name in ("linear", "mlp") else 1)
    for parameter in embedded:
        assert parameter.grad is not None
        assert not parameter.grad[PADDING].any() and parameter.grad.any()


def test_dropped_units_are_those_of_the_whole_width_of_a_batch() -> None:
    model, (_, x) = made("lstm"), known()
    shapes = []

    def drop(hidden: torch.Tensor, place: int) -> torch.Tensor:
        shapes.append(tuple(hidden.shape))
        return hidden * (uniform(key(0, 0), place, hidden.shape) > 0.5)

    dropping: Drop = drop
    assert not torch.allclose(model(x, dropping), model(x))
    assert shapes == [(5, 9, 8)] * 2
    model(x[1:2], dropping)
    assert shapes[-1] == (1, 9, 8)  # of a part of a batch the same places, wherever its sentences end


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("tfidf", TfidfVectorizer(token_pattern=r"\w+")),
        ("counts", CountVectorizer(token_pattern=r"\w+")),
        ("presence", CountVectorizer(token_pattern=r"\w+", binary=True)),
    ],
)
def test_bags_are_scikit_learns(kind: str, theirs: CountVectorizer) -> None:
    vocabulary, x = known()
    expected = theirs.fit_transform(TEXTS).toarray()
    got = Bag(vocabulary, kind).double()(x).numpy()
    for token, column in theirs.vocabulary_.items():
        np.testing.assert_allclose(got[:, vocabulary.places[token] - 1], expected[:, column], atol=1e-7)
    assert not got[:, 0].any()  # of words that are not known
    unknown = torch.tensor([[1, 1, 0]])
    assert not Bag(vocabulary, kind)(unknown).any()


def test_a_sentence_in_another_order_is_the_same_bag_and_another_sequence() -> None:
    _, x = known()
    turned = x[2:3].flip(1)
    for name in ("linear", "mlp"):
        torch.testing.assert_close(made(name)(turned), made(name)(x[2:3]))
    for name in ("lstm", "encoder"):
        assert not torch.allclose(made(name)(turned), made(name)(x[2:3]))


def test_the_encoder_attends_to_what_comes_later_too() -> None:
    model, (_, x) = made("encoder"), known()
    states = []
    model.blocks[-1].register_forward_hook(lambda _, __, output: states.append(output))
    later = x[2:3].clone()
    later[0, 5] = (later[0, 5] + 1) % 10 + 2
    model(x[2:3]), model(later)
    assert not torch.allclose(states[0][0, 0], states[1][0, 0])


@pytest.mark.parametrize("name", ["he_normal", "xavier_uniform", "orthogonal", "zeros", "lecun_normal"])
@pytest.mark.parametrize("model", ["linear", "mlp", "rnn", "encoder"])
def test_initializers_reach_every_layer(name: str, model: str, job: Make, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    width = [] if model == "linear" else ["model.width=16"]
    run = build(job(*ASKED, f"model={model}", *width, f"init={name}", "init.bias=0.25"))
    filled = init.filled_weights(run.construct())
    blocks = {"linear": 1, "mlp": 3, "rnn": 9, "encoder": 2 * 6 + 1}[model]
    assert len(filled) == blocks
    for where, weight in filled:
        shared = (2 * 2) ** 0.5 if where.endswith((".out", ".fall")) else 1.0  # of two blocks' branches
        fan_out, fan_in = weight.shape
        if name == "zeros":
            assert not weight.any()
        elif name == "orthogonal":
            w = weight * shared
            gram = w @ w.T if fan_out <= fan_in else w.T @ w
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
        else:
            variance = {"he_normal": 2 / fan_in, "lecun_normal": 1 / fan_in}.get(name, 2 / (fan_in + fan_out))
            if weight.numel() > 200:
                assert float((weight.detach() * shared).var()) == pytest.approx(variance, rel=0.4), where


def test_the_encoder_takes_maximal_updates(job: Make, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    asked = [*ASKED, "model=encoder", "init=he", "model.depth=1"]
    narrow, wide = (build(job(*asked, "model.mup=true", f"model.width={w}", "model.base_width=16")) for w in (16, 64))
    assert wide.optim.scaled
    rates = {g["lr_scale"] for g in wide.optim.groups(wide.construct()) if "lr_scale" in g}
    assert rates == {1.0, 0.25}
    rise = [dict(run.construct().named_parameters())["blocks.0.rise.weight"].detach().var() for run in (narrow, wide)]
    assert float(rise[0] / rise[1]) == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize(
    "model",
    [
        ["model=linear"],
        ["model=linear", "model.bag=counts"],
        ["model=mlp", "model.width=12", "model.bag=presence"],
        ["model=mlp", "model.width=12", "regularization=dropout"],
        ["model=encoder", "model.width=8", "model.heads=2", "model.depth=1", "optim=sgd"],
        ["model=encoder", "model.width=8", "model.heads=2", "model.pool=class", "regularization=dropout", "optim=sgd"],
    ],
    ids=str,
)
def test_stacks_are_what_their_runs_are_alone(model: list[str], job: Make, folder: Path) -> None:
    by_presence(folder / "s.csv", 120)
    shared = [*ASKED, *model, "batch.size=16", "max_steps=20", "eval_every=10", "dtype=float64"]
    # Of encoders by a step that is linear in the gradient: that of attention's biases of keys is 0 but for rounding,
    # which Adam would divide by its own size.
    assert_same(runs_of(job, three(), *shared))


def test_a_recurrent_network_goes_through_the_loop(optbench: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    asked = ["train", "-m", *ASKED, "model=rnn", "model.width=8", "optim.lr=0.01,0.1", "max_steps=2", "batch.size=16"]
    refused = optbench(*asked, "engine=fused")
    assert refused.code == 2 and "engine=fused cannot train this run" in refused.err
    assert optbench(*asked).code == 0


LEARNERS = {
    "linear": ["model=linear", "optim.lr=0.1"],
    "mlp": ["model=mlp", "model.width=32", "optim.lr=0.01"],
    "lstm": ["model=rnn", "model.width=32", "optim.lr=0.01"],
    "gru": ["model=rnn", "model.kind=gru", "model.width=32", "optim.lr=0.01"],
    "encoder": ["model=encoder", "model.width=32", "optim.lr=0.005"],
}


@pytest.mark.parametrize("name", LEARNERS)
def test_which_word_occurs_is_learnt_by_all(name: str, folder: Path) -> None:
    by_presence(folder / "s.csv")
    found = train(*ASKED, *LEARNERS[name], "epochs=10", "batch.size=32").summary
    assert found["test_accuracy"] >= 0.95


@pytest.mark.parametrize("name", LEARNERS)
def test_which_word_comes_first_is_learnt_by_what_reads_in_order(name: str, folder: Path) -> None:
    by_order(folder / "s.csv")
    found = train(*ASKED, *LEARNERS[name], "epochs=10", "batch.size=32").summary
    if name in ("linear", "mlp"):  # every sentence has a twin of the other class with the same words
        assert found["test_accuracy"] < 0.65 and found["final_train_accuracy"] < 0.65
    else:
        assert found["test_accuracy"] >= 0.9
