"""``--config-dir``: a folder of YAMLs of the user's own, and what is refused of it before anything reads it."""

from pathlib import Path

import yaml

from runner.errors import ConfigError, unreadable

DEEPEST_YAML = 50


def own_folder(config_dir: str) -> Path:
    """Return the folder that ``--config-dir`` names.

    Raises:
        ConfigError: if it is no folder, or holds what cannot be read.
    """
    folder = Path(config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir must be a folder with YAMLs, got {config_dir!r}")
    refuse_aliases(folder)
    if (folder / "config.yaml").exists():
        raise ConfigError(f"{folder / 'config.yaml'} would not be read: put what you set into experiment/NAME.yaml")
    return folder


def refuse_aliases(folder: Path) -> None:
    """Refuse YAML aliases, with which a small file can grow without bound.

    Raises:
        ConfigError: naming the file that has one, or that is no YAML.
    """
    for path in sorted(folder.rglob("*.yaml")):
        try:
            with path.open(encoding="utf-8") as file:
                depth = 0
                for event in yaml.parse(file, yaml.CSafeLoader):
                    depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                    if isinstance(event, yaml.AliasEvent) or depth > DEEPEST_YAML:
                        what = "aliases (*name) are" if depth <= DEEPEST_YAML else "values so deep are"
                        raise ConfigError(f"{path}: YAML {what} not taken here: write the value out")
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise unreadable(path, error) from error
