"""Bad input: one clear message naming the key and what is valid, exit 2, nothing written; its valid twin runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

QUICK = ["max_steps=1", "model=linear"]

# what is wrong, the overrides, words the message must hold, the valid twin
CASES = [
    ("unknown key", ["optim.lrr=1"], ["optim.lrr", "'optim.lr'"], ["optim.lr=1"]),
    ("unknown key without its group", ["lr=1"], ["'lr'", "optim.lr=1"], ["optim.lr=1"]),
    ("unknown top-level key", ["sed=1"], ["'sed'", "'seed'"], ["seed=1"]),
    ("unknown key behind +", ["+foo=1"], ["'foo'", "valid"], ["seed=1"]),
    ("unknown key behind ++", ["++optim.foo=1"], ["optim.foo", "optim.lr"], ["++optim.lr=1"]),
    ("existing key behind +", ["+seed=1"], ["seed", "leave out the +"], ["seed=1"]),
    ("unknown group", ["optimizer=adam"], ["optimizer", "did you mean optim=adam?"], ["optim=adam"]),
    ("unknown option", ["optim=adamm"], ["adamm", "'adam'", "sgd"], ["optim=adam"]),
    ("unknown option in a combination", ["regularization=[l2,drpout]"], ["drpout", "'dropout'"], ["regularization=[l2]"]),
    ("setting of another option", ["optim=sgd", "optim.eps=1e-8"], ["optim.eps", "adam", "sgd"], ["optim=adam", "optim.eps=1e-8"]),
    ("setting of an option not chosen", ["regularization.l2.strength=1"], ["regularization=l2"], ["regularization=l2", "regularization.l2.strength=1"]),
    ("text for a number", ["optim.lr=fast"], ["optim.lr", "'fast'", "number"], ["optim.lr=1e-2"]),
    ("number for a flag", ["deterministic=1"], ["deterministic", "true or false"], ["deterministic=true"]),
    ("flag for a number", ["seed=true"], ["seed", "true", "whole"], ["seed=1"]),
    ("fraction of a whole number", ["batch.size=2.5"], ["batch.size", "2.5", "whole"], ["batch.size=2"]),
    ("list for a number", ["optim.lr=[1,2]"], ["optim.lr", "[1, 2]"], ["optim.lr=1"]),
    ("too short a list", ["optim.betas=[0.9]"], ["optim.betas", "list of 2"], ["optim.betas=[0.9,0.99]"]),
    ("unknown word", ["device=gpu"], ["device", "'gpu'", "did you mean 'cuda'?"], ["device=cpu"]),
    ("null where there is none", ["optim.lr=null"], ["optim.lr", "null"], ["eval_every=null"]),
    ("negative", ["optim.lr=-1"], ["optim.lr", "> 0", "-1.0"], ["optim.lr=1"]),
    ("zero", ["optim.lr=0"], ["optim.lr", "> 0"], ["optim.weight_decay=0"]),
    ("above the range", ["optim.betas=[0.9,1.0]"], ["optim.betas[1]", "< 1"], ["optim.betas=[0.9,0.0]"]),
    ("nan", ["optim.lr=nan"], ["optim.lr", "nan", "finite"], ["optim.lr=1"]),
    ("inf", ["optim.lr=inf"], ["optim.lr", "inf", "finite"], ["optim.lr=1"]),
    ("minus inf", ["init=he", "init.bias=-inf"], ["init.bias", "-inf"], ["init=he", "init.bias=-1"]),
    ("too large a seed", ["seed=99999999999"], ["seed", "99999999999"], ["seed=99999"]),
    ("given twice", ["seed=1", "seed=2"], ["seed", "twice"], ["seed=2"]),
    ("option given twice", ["optim=sgd", "optim=adam"], ["optim", "twice"], ["optim=adam"]),
    ("named twice in a combination", ["regularization=[l2,l2]"], ["regularization", "twice"], ["regularization=[l2,grad_clip]"]),
    ("none beside others", ["regularization=[none,l2]"], ["regularization=none", "alone"], ["regularization=none"]),
    ("empty value", ["seed="], ["seed", "empty"], ["seed=0"]),
    ("empty text", ["name=''"], ["name", "empty"], ["name=x"]),
    ("deletion", ["~seed"], ["~seed", "deleted"], ["seed=0"]),
    ("no value", ["seed"], ["'seed'", "key=value"], ["seed=0"]),
    ("an option without its group", ["adam"], ["'adam'", "did you mean optim=adam?"], ["optim=adam"]),
    ("broken syntax", ["optim.betas=[0.9"], ["[0.9"], ["optim.betas=[0.9,0.99]"]),
    ("unresolved interpolation", ["optim.lr=${nope}"], ["nope"], ["seed=${data.split_seed}"]),
    ("a sweep without -m", ["seed=0,1"], ["seed=0,1", "-m"], ["seed=1"]),
    ("epochs beside max_steps", ["epochs=1"], ["epochs=1", "max_steps=1"], []),
    ("batch size beside gd", ["optim=gd", "batch.size=8"], ["batch.size=8", "optim=gd"], ["optim=gd"]),
    ("decay twice", ["regularization=weight_decay"], ["regularization=weight_decay", "optim.weight_decay"], ["regularization=weight_decay", "optim=sgd"]),
    ("dropout without hidden units", ["regularization=dropout"], ["dropout", "model=linear"], ["regularization=l2"]),
    ("unknown augmentation", ["augment=[crop,flp]"], ["flp", "'flip'"], ["augment=[crop,flip]"]),
    ("setting of an augmentation not chosen", ["augment.crop.pad=1"], ["augment.crop.pad", "augment=crop", "augment=none"], ["augment=crop", "augment.crop.pad=1"]),
    ("zoom from more to less", ["augment=scale", "augment.scale.least=2"], ["augment.scale.least", "augment.scale.most", "2", "1.2"], ["augment=scale", "augment.scale.least=1.2"]),
    ("crop as wide as the image", ["augment=crop", "augment.crop.pad=8"], ["augment=crop", "9", "8×8"], ["augment=crop", "augment.crop.pad=7"]),
    ("color of grey images", ["augment=color"], ["augment=color", "3 channels", "1"], ["augment=noise"]),
    ("geometry of a table", ["augment=rotate", "data=wine"], ["augment=rotate", "data=wine", "images", "[13]"], ["augment=[mixup,noise]", "data=wine"]),
    ("a box of a table", ["augment=cutmix", "data=wine"], ["augment=cutmix", "data=wine", "images"], ["augment=mixup", "data=wine"]),
    ("geometry of a signal", ["augment=flip", "data=mnist1d"], ["augment=flip", "data=mnist1d", "[1, 40]"], ["augment=mixup", "data=mnist1d"]),
    ("mixing a sample with itself", ["augment=mixup", "batch.size=1"], ["augment=mixup", "batch.size=1"], ["augment=mixup", "batch.size=2"]),
    ("amp beside float64", ["amp=bf16", "dtype=float64"], ["amp=bf16", "float64"], ["dtype=float64"]),
    ("fp16 on a CPU", ["amp=fp16", "device=cpu"], ["amp=fp16", "bf16"], ["amp=bf16", "device=cpu"]),
    ("classes' loss on numbers", ["data=linear_regression", "loss=cross_entropy"], ["loss", "cross_entropy", "mse"], ["data=linear_regression", "loss=l1"]),
    ("numbers' loss on classes", ["loss=huber"], ["loss", "huber", "cross_entropy"], ["loss=mse"]),
    ("data that is not there", ["data=mnist", "data.root=/nowhere"], ["data.root", "/nowhere", "data.download"], ["data=digits"]),
    ("data key of another data set", ["data.root=/tmp"], ["data.root", "mnist", "digits"], ["data.split_seed=1"]),
    ("batch larger than the data", ["batch.size=100000"], ["batch.size", "100000", "1295"], ["batch.size=1295"]),
    ("a part left empty", ["data.val_fraction=1e-6"], ["data.val_fraction"], ["data.val_fraction=0.2"]),
    ("warm-up longer than the run", ["scheduler.warmup=5"], ["scheduler.warmup", "1"], ["scheduler.warmup=0.1"]),
    ("warm-up of half a step", ["scheduler.warmup=1.5"], ["scheduler.warmup", "1.5"], ["scheduler.warmup=0"]),
    ("a target without its value", ["target.metric=val_accuracy"], ["target.metric=val_accuracy", "target.value"], ["target.metric=val_accuracy", "target.value=1"]),
    ("a target without its measure", ["target.value=0.9"], ["target.value=0.9", "target.metric"], ["target.metric=loss", "target.value=0.9"]),
    ("a target of no measure", ["target.metric=val_acuracy", "target.value=1"], ["target.metric", "got 'val_acuracy'", "'val_accuracy'", "val_loss"], ["target.metric=accuracy", "target.value=1"]),
    ("a target that nobody measures", ["target.metric=nonsense", "target.value=1"], ["got 'nonsense'\nvalid: val_loss, val_accuracy"], ["target.metric=val_loss", "target.value=1"]),
    ("a target on the test set", ["target.metric=test_accuracy", "target.value=1"], ["target.metric", "validation", "val_accuracy"], ["target.metric=val_accuracy", "target.value=1"]),
    ("a target of a measure that is not recorded", ["target.metric=roc_auc", "target.value=1"], ["target.metric", "got 'roc_auc'", "metrics"], ["target.metric=roc_auc", "target.value=1", "metrics=[roc_auc]"]),
    ("a target of a measure of one's own", ["metrics=[tests.own_parts.top2]", "target.metric=top2", "target.value=1"], ["target.metric=val_top2", "better"], ["metrics=[tests.own_parts.top2]"]),
    ("a target as one value", ["target=0.9"], ["target.metric", "target.value"], ["target.metric=loss", "target.value=0.9"]),
    ("a misspelt part of a target", ["target.metrics=loss"], ["target.metrics", "'target.metric'"], ["target.metric=loss", "target.value=0.9"]),
    ("nan as a target", ["target.metric=loss", "target.value=nan"], ["target.value", "finite"], ["target.metric=loss", "target.value=-1"]),
    ("stopping at no target", ["stop=target"], ["stop=target", "target.metric", "target.value"], ["stop=target", "target.metric=loss", "target.value=1"]),
    ("unknown way to stop", ["stop=[plateau,tme]"], ["tme", "'time'"], ["stop=[plateau,time]"]),
    ("setting of a way to stop not chosen", ["stop.steps.most=3"], ["stop.steps.most", "stop=steps"], ["stop=steps", "stop.steps.most=3"]),
    ("no time at all", ["stop=time", "stop.time.seconds=0"], ["stop.time.seconds", "> 0"], ["stop=time", "stop.time.seconds=0.1"]),
    ("a fold without folds", ["data.fold=1"], ["data.fold=1", "data.folds"], ["data.fold=1", "data.folds=3"]),
    ("folds without a fold", ["data.folds=3"], ["data.folds=3", "data.fold", "counted from 0"], ["data.folds=3", "data.fold=0"]),
    ("a fold out of range", ["data.folds=3", "data.fold=3"], ["data.fold must be", "< data.folds=3", "got 3"], ["data.folds=3", "data.fold=2"]),
    ("one fold", ["data.folds=1", "data.fold=0"], ["data.folds", "≥ 2", "1"], ["data.folds=2", "data.fold=0"]),
    ("more folds than samples", ["data.folds=2000", "data.fold=0"], ["data.folds=2000", "1438"], ["data.folds=1438", "data.fold=0"]),
    ("a share beside folds", ["data.folds=3", "data.fold=0", "data.val_fraction=0.2"], ["data.val_fraction=0.2", "data.folds=3"], ["data.val_fraction=0.2"]),
    ("folds of data with a validation set", ["data=quadratic", "batch.size=1", "data.folds=2", "data.fold=0"], ["data.folds=2", "validation set of its own"], ["data=quadratic", "batch.size=1"]),
    ("a negative resample", ["data.bootstrap=-1"], ["data.bootstrap", "≥ 0", "-1"], ["data.bootstrap=1"]),
    ("path in the name", ["name=../x"], ["name", "'../x'"], ["name=x"]),
    ("registry's own key", ["optim._target_=os.system"], ["optim._target_"], ["optim=sgd"]),
    ("a Hydra key that would not be obeyed", ["hydra.run.dir=x"], ["hydra.run.dir"], []),
    ("a launcher without -m", ["hydra/launcher=basic"], ["hydra/launcher", "-m"], []),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "words", "twin"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_input_is_refused_and_its_valid_twin_runs(
    overrides: list[str], words: list[str], twin: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *QUICK, *overrides)
    assert refused.code == 2
    assert refused.err.startswith("optbench: ")
    assert "Traceback" not in refused.err
    assert len(refused.err.splitlines()) <= 4
    for word in words:
        assert word in refused.err
    assert refused.out == ""
    assert list(folder.iterdir()) == []
    assert optbench("train", *QUICK, *twin).code == 0


def test_cnn_on_a_table_is_refused(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "model=cnn", "data=linear_regression")
    assert refused.code == 2
    assert "model=cnn" in refused.err
    assert optbench("train", "model=cnn", "model.depth=4", "max_steps=1").code == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["trian"], ["'trian'", "'train'"]),
        (["init=he"], ["'init=he'", "'train'"]),
        (["list", "optimm"], ["'optimm'", "'optim'"]),
        (["list", "dataset"], ["'dataset'", "'data'"]),
        (["train", "--nonsense"], ["--nonsense"]),
        (["train", "--config-dir", "/nowhere"], ["--config-dir", "/nowhere"]),
        (["completion", "tcsh"], ["tcsh"]),
    ],
)
def test_a_mistyped_command_names_what_was_meant(argv: list[str], words: list[str], optbench: Callable) -> None:
    refused = optbench(*argv)
    assert refused.code == 2
    assert all(word in refused.err for word in words)
    assert "Traceback" not in refused.err


def test_bad_jobs_refuse_the_whole_grid_by_name(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", *QUICK, "optim=sgd,adam", "optim.lr=0.1,-1")
    assert refused.code == 2
    assert "2 of 4 jobs cannot be run" in refused.err
    assert "job 1 (" in refused.err and "job 3 (" in refused.err
    assert "optim.lr=-1" in refused.err
    assert list(folder.iterdir()) == []
    assert optbench("train", "-m", *QUICK, "optim=sgd,adam", "optim.lr=0.1,1").code == 0


def test_missing_cuda_is_refused(optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = optbench("train", *QUICK, "device=cuda")
    assert refused.code == 2
    assert "device=cuda" in refused.err
    assert "cpu" in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["metrics=[tests.own_parts.seconds]"], ["seconds", "another name"]),
        (["metrics=[tests.own_parts.top2,tests.own_parts.top2]"], ["top2", "another name"]),
        (["data=linear_regression", "model=custom", "model.target=tests.own_parts.Squeezed"], ["[2, 1]", "[2]"]),
        (["optim=custom", "optim.target=torch.optim.AdamW", "regularization=weight_decay"], ["AdamW", "decays by itself"]),
        (["data=custom", "data.target=tests.own_parts.load", "data.args={samples: many}"], ["tests.own_parts.load"]),
        (["model=custom", "model.target=tests.own_parts.Net", "model.args={1: 2}"], ["model.args", "texts as keys"]),
        (["epochs=3000000000"], ["epochs", "1e+06"]),
        (["threads=1000000000"], ["threads"]),
        ([f"name={'x' * 300}"], ["name", "100 bytes"]),
        (["+augment=mine"], ["augment"]),
    ],
    ids=lambda v: " ".join(v)[:60],
)  # fmt: skip
def test_more_bad_input(overrides: list[str], words: list[str], optbench: Callable, folder: Path) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2, refused.err
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "text", "choice", "words"),
    [
        ("experiment/x.yaml", "# @package _global_\nepohcs: 3\n", "experiment=x", ["'epohcs'", "'epochs'"]),
        ("experiment/x.yaml", "# @package _global_\nmodel:\n  wdith: 3\n", "experiment=x", ["model.wdith", "width"]),
        ("config.yaml", "seed: 3\n", "seed=1", ["config.yaml", "experiment"]),
        ("regularization/x.yaml", "x:\n  _target_: tests.own_parts.nothing\n", "regularization=x", ["regularization=x", "Hook"]),
        ("optim/x.yaml", "_option_: ../../x\n_target_: runner.optim.gd\nlr: 1\n", "optim=x", ["_option_", "../../x"]),
        ("optim/x.yaml", "_option_: x\n_target_: runner.optim.gd\n", "optim=x", ["optim needs lr"]),
        ("optim/x.yaml", "_option_: x\n_target_: runner.optim.gd\nlr: 1\nbta: 2\n", "optim=x", ["option x", "no bta", "lr"]),
        ("optim/x.yaml", "_option_: x\n_target_: runner.optim.lion\nlr: 1\n", "optim=x", ["option x", "betas, weight_decay"]),
        ("optim/x.yaml", "lr: 1\n", "optim=x", ["_target_"]),
        ("optim/x.yaml", "[1, 2]\n", "optim=x", ["optim"]),
        ("optim/x.yaml", "_option_: x\n_target_: 5\nlr: 1\n", "optim=x", ["_target_"]),
        ("optim/x.yaml", "_option_: x\n_target_: os.system\nlr: 1\n", "optim=x", ["os.system"]),
        ("optim/x.yaml", "a: !!python/name:os.system\n", "optim=x", ["optim"]),
        ("optim/x.yaml", "a: " + "[" * 5000 + "\n", "optim=x", ["x.yaml"]),
        ("init/x.yaml", "_option_: x\n_target_: tests.own_parts.fill_with\nscale: 0.5\nbias: 0.0\n", "init.scale=a", ["init.scale"]),
    ],
)  # fmt: skip
def test_a_broken_config_dir_is_refused(
    where: str, text: str, choice: str, words: list[str], optbench: Callable, folder: Path
) -> None:
    path = folder / "mine" / where
    path.parent.mkdir(parents=True)
    path.write_text(text)
    chosen = ["init=x", choice] if where.startswith("init") else [choice]
    refused = optbench("train", "--config-dir", "mine", *chosen, "max_steps=1")
    assert refused.code == 2, refused.err
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert [p.name for p in folder.iterdir()] == ["mine"]
