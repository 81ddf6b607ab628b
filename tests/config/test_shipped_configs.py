"""``optbench://``: the shipped YAMLs are read once and by another reader, which must take them as Hydra does."""

from pathlib import Path

import pytest
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigSource
from omegaconf import OmegaConf

from hydra_plugins.optbench import ShippedConfigs
from runner.config import hydra_door, options
from runner.config.options import configs_dir
from runner.config.specs import SPEC
from tests.support.composed import COMPOSED

FILES = [str(path.relative_to(configs_dir())) for path in sorted(configs_dir().rglob("*.yaml"))]


def own() -> ShippedConfigs:
    return ShippedConfigs("main", f"optbench://{configs_dir()}")


def hydras() -> ConfigSource:
    sources = {source.scheme(): source for source in Plugins.instance().discover(ConfigSource)}
    return sources["file"]("main", f"file://{configs_dir()}")


def without_specs(node: object) -> object:
    return {k: without_specs(v) for k, v in node.items() if k != SPEC} if isinstance(node, dict) else node


@pytest.mark.parametrize("name", FILES)
def test_numbers_flags_and_texts_are_read_as_hydra_reads_them(name: str) -> None:
    found, wanted = own().load_config(name), hydras().load_config(name)
    assert found.header == wanted.header
    assert repr(OmegaConf.to_container(found.config)) == repr(without_specs(OmegaConf.to_container(wanted.config)))


@pytest.mark.parametrize("what", [None, ObjectType.GROUP, ObjectType.CONFIG])
@pytest.mark.parametrize("where", ["", "optim", "experiment"])
def test_folders_are_listed_as_hydra_lists_them(where: str, what: ObjectType | None) -> None:
    assert own().list(where, what) == hydras().list(where, what)


def test_what_is_not_there_is_not_there() -> None:
    assert own().available() and own().is_group("optim") and own().is_config("optim/sgd")
    assert not own().exists("optim/nothing")
    assert not ShippedConfigs("main", "optbench:///nowhere").available()
    with pytest.raises(ConfigLoadError):
        own().load_config("optim/nothing")


def test_a_file_is_read_once_for_all_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    options.forget_options()
    read: list[str] = []
    text_of = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **asked: read.append(str(path)) or text_of(path, **asked))
    loader = hydra_door.start(configs_dir()).config_loader
    for optim in ("sgd", "adam", "sgd", "adamw"):
        COMPOSED(loader, [f"optim={optim}"], left_out=SPEC)
    assert sorted(set(read)) == sorted(read)
    assert str(configs_dir() / "config.yaml") in read
