"""Runs with augmentation: what their steps train on, what they leave as it is, what is on disk and said."""

import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from runner import augment
from runner.augment import Pixels
from runner.engine import loop, measure
from runner.engine.state import start
from runner.noise import derive
from runner.run import files
from runner.run.build import build
from tests.support.augmentations import ALL, augmentation, draws
from tests.support.killed import killed_and_finished
from tests.support.known import TINY
from tests.support.loops import trained
from tests.support.records import rows_of, run_folder, summary_of, without_timing


def test_a_step_trains_on_what_the_parts_make_of_its_batch(job: Callable) -> None:
    parts = ["augment=[crop,mixup]", "augment.crop.pad=1"]
    plain_steps = ["init=he", "optim=sgd", "optim.lr=0.5", "scheduler=constant", "max_steps=3", "dtype=float64"]
    this = job(*parts, "seed=4", *plain_steps)
    run = build(this)
    model, order = run.construct(), run.order(0)
    pixels = Pixels(run.interface["shift"], run.interface["scale"], 0, 0)
    losses = []
    for step in range(3):
        of_crop, of_mixup = (draws(derive(4, "augment"), step, option) for option in ("crop", "mixup"))
        index = order[64 * step : 64 * step + 64]
        x, y = augment.crop(pad=1).of(run.train.x[index], of_crop, pixels), run.train.y[index]
        partners = of_mixup.uniform(64).argsort(stable=True)
        share = augment.beta(0.2, of_mixup.once(0))
        outputs = model(share * x + (1 - share) * x[partners])
        loss = share * F.cross_entropy(outputs, y) + (1 - share) * F.cross_entropy(outputs, y[partners])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, gradient in zip(model.parameters(), gradients, strict=True):
                p -= 0.5 * gradient
        losses.append(loss.item())
    state, rows = trained(this)
    assert rows[1]["batch_loss"] == pytest.approx(sum(losses) / 3, rel=1e-10)
    for ours, plain in zip(state.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), plain.detach(), rtol=1e-9, atol=1e-12)


def test_evaluations_see_the_samples_as_they_are(job: Callable) -> None:
    plain, augmented = (job("init=he", "epochs=1", *more) for more in ([], [f"augment=[{','.join(ALL)}]"]))
    (_, without), (state, rows) = trained(plain), trained(augmented)
    measured = [name for name in rows[0] if name.startswith(("val_", "train_")) and name != "train_seconds"]
    assert [rows[0][name] for name in measured] == [without[0][name] for name in measured]
    assert rows[1]["batch_loss"] != without[1]["batch_loss"]
    run = build(plain)
    for part, split in (("train", run.probe), ("val", run.val)):
        expected = measure.evaluate(state, split)
        assert {f"{part}_{k}": rows[-1][f"{part}_{k}"] for k in expected} == {
            f"{part}_{k}": v for k, v in expected.items()
        }
    assert measure.finish(state)["test_loss"] == measure.finish(replace(state, run=run))["test_loss"]


def test_samples_are_counted_and_whole_batches_stay_as_they_are(job: Callable) -> None:
    run = build(job("optim=gd", "epochs=2", "augment=[cutmix,noise,flip]"))
    before = run.train.x.clone()
    rows = [evaluation.row for evaluation in loop.train(start(run), lambda state, loss: False)]
    assert [row["samples_seen"] for row in rows] == [0, 1295, 2590]
    assert torch.equal(run.train.x, before)


@pytest.mark.parametrize("data", ["linear_regression", "breast_cancer", "mnist1d"])
def test_mixup_and_noise_act_on_any_numbers(data: str, job: Callable) -> None:
    _, rows = trained(job(f"data={data}", "augment=[mixup,noise]", "max_steps=5", "model.width=8", "loss=mse"))
    assert math.isfinite(rows[-1]["batch_loss"])


@pytest.mark.parametrize("more", [["amp=bf16"], ["dtype=float64"], ["loss=mse"], ["loss=bce"], ["model=cnn"]], ids=str)
def test_every_part_goes_with_precisions_losses_and_models(more: list[str], job: Callable) -> None:
    own = ["data=custom", "data.target=tests.own_parts.pictures", "batch.size=16", "model.width=4"]
    _, rows = trained(job(*own, f"augment=[{','.join(ALL)},color]", "augment.crop.pad=2", "max_steps=4", *more))
    assert math.isfinite(rows[-1]["batch_loss"])


def test_the_range_of_colors_is_that_of_the_raw_data(job: Callable) -> None:
    of_bytes = build(job("data=custom", "data.target=tests.own_parts.pictures", "augment=color", "batch.size=8"))
    pixels = of_bytes.hooks["augment"].pixels
    assert (pixels.lowest, pixels.highest) == (0, 255)
    digits = build(job("augment=noise")).hooks["augment"].pixels
    assert (digits.lowest, digits.highest) == pytest.approx((0, 16), abs=1e-4)


def test_an_augmented_run_that_was_killed_goes_on_to_the_same_bytes(optbench: Callable, folder: Path) -> None:
    asked = [f"augment=[{','.join(ALL)}]", "augment.crop.pad=1", "epochs=8", "model.width=32", "threads=1"]
    run, expected = killed_and_finished(optbench, folder, asked)
    assert without_timing(run) == without_timing(expected)
    assert summary_of(run)["resumed_from_step"] is not None
    assert summary_of(run)["test_loss"] == summary_of(expected)["test_loss"]


def test_a_combination_is_one_column_and_its_settings_are_columns(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", *TINY, "augment=none,flip,[flip,crop]", "augment.flip.p=0.3")
    assert refused.code == 2 and "augment.flip.p" in refused.err  # none has no such setting
    assert optbench("train", "-m", *TINY, "augment=none,flip,[flip,crop]").code == 0
    rows = files.read_csv(folder / "outputs/default/runs.csv")
    assert sorted(row["augment"] for row in rows) == ["crop+flip", "flip", "none"]
    assert {row["augment"]: (row["augment.flip.p"], row["augment.crop.pad"]) for row in rows} == {
        "none": ("", ""),
        "flip": ("0.5", ""),
        "crop+flip": ("0.5", "4"),
    }
    assert {row["engine"] for row in rows} == {"loop"}


def test_the_report_gives_the_command_of_an_augmented_run(optbench: Callable, folder: Path) -> None:
    optbench("train", "-m", *TINY, "augment=[crop,noise],[noise]", "augment.noise.std=0.1,0.5", "seed=0,1")
    result = optbench("report", "outputs/default")
    assert result.code == 0
    assert "augment" in result.out and "augment.noise.std" in result.out
    command = next(line for line in result.out.splitlines() if line.startswith("optbench train "))
    assert optbench(*shlex.split(command)[1:]).code == 0


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1,2", "optim.lr=1e-3,1e-2"]], ids=["run", "sweep"])
def test_mirrored_digits_are_doubted_once(sweep: list[str], optbench: Callable, folder: Path) -> None:
    result = optbench("train", *sweep, *TINY, "augment=flip")
    assert result.code == 0
    assert result.err.count("augment=flip beside data=digits") == 1
    assert "mirror" not in result.out
    assert "mirror" not in optbench("train", *TINY, "augment=crop").err


def test_noise_on_a_text_is_refused(optbench: Callable, folder: Path) -> None:
    for name in ("noise", "mixup", "crop"):
        refused = optbench("train", f"augment={name}", "data=text", "model=rnn")
        assert refused.code == 2 and f"augment={name} beside data=text" in refused.err and "characters" in refused.err
    assert list(folder.iterdir()) == []


def test_a_part_of_ones_own_acts_after_the_shipped_ones(optbench: Callable, folder: Path) -> None:
    place = folder / "mine" / "augment"
    place.mkdir(parents=True)
    (place / "a_dark.yaml").write_text("# Darker\na_dark:\n  _target_: tests.own_parts.darker\n  by: 2.0  # factor\n")
    (place / "wrong.yaml").write_text("# Nothing\nwrong:\n  _target_: tests.own_parts.nothing\n")
    asked = ["train", "--config-dir", "mine", *TINY]
    assert optbench(*asked, "augment=[a_dark,crop]", "augment.a_dark.by=4").code == 0
    assert float(rows_of(run_folder(folder))[-1]["val_accuracy"]) > 0
    refused = optbench(*asked, "augment=wrong")
    assert refused.code == 2 and "part of" in refused.err, refused.err
    parts = {"a_dark": augment.noise(std=1.0), **augmentation("crop", "scale").parts}
    assert list(augment.in_order(parts)) == ["scale", "crop", "a_dark"]
