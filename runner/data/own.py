"""The user's own data, and data sets put together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runner.config.fields import REQUIRED, Field
from runner.config.imports import resolve
from runner.config.options import find, options
from runner.config.own_parts import call, path_of
from runner.data import Array, Samples, Source, fingerprint
from runner.errors import ConfigError, PartError, closest

PARTS = {2: ("",), 4: ("", "test_"), 6: ("", "val_", "test_")}
"""What so many arrays are of, a pair of x and y each."""
MOST_NAMED = 10
"""Labels that a message lists."""


def custom(
    *, target: Callable[..., Any], args: dict[str, Any], test_fraction: float, seed: int | None = None
) -> Source:
    """Take what the user's function or Dataset class gives; whole numbers, booleans and texts are classes.

    What it may look like stands in ``configs/data/custom.yaml``.

    Args:
        target: the function or class.
        args: its arguments.
        test_fraction: held out where it gives no test set.
        seed: the run's, where it takes that.

    Raises:
        PartError: if it is not (x, y), (x, y, test_x, test_y), (x, y, val_x, val_y, test_x, test_y) or a map-style
            Dataset of such pairs, or holds what is no number, or none that is finite.
    """
    given = call("data.target", target, args=args, **({} if seed is None else {"seed": seed}))
    said = f"data.target={path_of(target)}"
    by_place = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    if by_place and not isinstance(given, tuple | list | Mapping | str):
        given = _pairs(given, said)
    if not isinstance(given, tuple | list) or len(given) not in PARTS:
        got = f"{type(given).__name__} of {len(given)}" if isinstance(given, tuple | list) else type(given).__name__
        raise PartError(
            "data.target",
            f"{said} must return (x, y), (x, y, test_x, test_y), (x, y, val_x, val_y, test_x, test_y) or a Dataset, "
            f"got {got}",
        )
    names = [f"{part}{of}" for part in PARTS[len(given)] for of in "xy"]
    arrays = [_array(part, f"{said} gave {name}") for name, part in zip(names, given, strict=True)]
    if any(len(x) != len(y) or len(x) < 2 for x, y in zip(arrays[::2], arrays[1::2], strict=True)):
        lengths = [len(a) for a in arrays]
        raise PartError("data.target", f"{said} gave x and y of lengths {lengths}: they must match, and be 2 or more")
    _refuse_shapes(dict(zip(names, arrays, strict=True)), said)
    parts = [Samples(x, y) for x, y in zip(arrays[::2], arrays[1::2], strict=True)]
    labels, notes = _labels(parts), list[str]()
    if labels is None:
        parts = [Samples(part.x, part.y.reshape(len(part), -1)) for part in parts]
    digest = fingerprint(*parts)  # of labels as they were given
    if labels is not None:
        if not np.array_equal(labels, np.arange(len(labels))):
            notes = [f"{said}: {_numbered(labels)}"]
        parts = [Samples(part.x, np.searchsorted(labels, part.y)) for part in parts]
    test = parts[-1] if len(parts) > 1 else None
    val = parts[1] if len(parts) == 3 else None
    classes = None if labels is None else len(labels)
    called = None if labels is None else tuple(labels.tolist())
    share = None if test else test_fraction
    return Source(parts[0], classes, digest, test, share, val, notes=tuple(notes), labels=called)


def _pairs(given: Any, said: str) -> tuple[Array, Array]:
    """Return the samples and targets of a map-style Dataset."""
    pairs = [given[i] for i in range(len(given))]
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        kind = type(pairs[0]).__name__ if pairs else "none"
        raise PartError("data.target", f"{said} gives samples that must be pairs (x, y), got {kind}")
    x, y = (np.stack([np.asarray(pair[i]) for pair in pairs]) for i in range(2))
    return x, y


def _array(part: Any, said: str) -> Array:
    """Return a part of the data as an array of samples."""
    try:
        array = np.asarray(part)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged rows, a tensor that needs a gradient
        raise PartError("data.target", f"{said}, which is no array: {str(error).splitlines()[0]}") from error
    if array.dtype == object and all(isinstance(entry, str) for entry in array.flat):  # such as a column of pandas'
        array = array.astype(str)
    if not array.ndim:
        raise PartError("data.target", f"{said}, which is {type(part).__name__} and no array of samples")
    if np.issubdtype(array.dtype, np.inexact) and (odd := np.count_nonzero(~np.isfinite(array))):
        raise PartError("data.target", f"{said} of which {odd} of {array.size} numbers are not finite")
    return array


def _refuse_shapes(arrays: Mapping[str, Array], said: str) -> None:
    """Refuse samples that are no numbers, and parts of other shapes than the first."""
    for name, array in arrays.items():
        is_x, first = name.endswith("x"), arrays[name[-1]]
        if is_x and array.dtype.kind not in "fiub":
            raise PartError("data.target", f"{said} gave {name} of {array.dtype}: samples are numbers")
        if is_x and (array.ndim < 2 or not array[0].size):
            raise PartError("data.target", f"{said} gave {name} of shape {list(array.shape)}: it must be [n, …]")
        if array.shape[1:] != first.shape[1:]:
            shapes = f"{list(array.shape)} beside {list(first.shape)}"
            raise PartError("data.target", f"{said} gave {name} of shape {shapes}: samples must be alike")


def _labels(parts: Sequence[Samples]) -> Array | None:
    """Return the classes among targets, in order; None of targets that are quantities.

    Raises:
        ConfigError: if they are neither, or of one class alone.
    """
    kinds = {part.y.dtype.kind for part in parts}
    found = ", ".join(str(part.y.dtype) for part in parts)
    if parts[0].y.ndim == 2 and parts[0].y.shape[1] == 1 and not kinds <= {"f"}:
        said = f"data.target gave targets of {found} and shape {list(parts[0].y.shape)}"
        raise PartError("data.target", f"{said}: classes are [n], quantities numbers with a point")
    if any(part.y.ndim > 1 for part in parts) or kinds <= {"f"}:
        if kinds <= set("fiub"):
            return None
        raise PartError("data.target", f"data.target gave targets of {found}, not numbers")
    if not (kinds <= {"i", "u"} or kinds in ({"b"}, {"U"})):
        said = f"data.target gave targets of {found}: classes are whole numbers, booleans or texts"
        raise PartError("data.target", said)
    labels = np.unique(np.concatenate([part.y for part in parts]))
    if len(labels) < 2:
        raise PartError("data.target", f"data.target gave one class, {labels[0]}: there is nothing to tell apart")
    return labels


def _numbered(labels: Array) -> str:
    """Say which labels are which classes."""
    shown = [str(label) for label in labels[:MOST_NAMED]] + ["…"] * (len(labels) > MOST_NAMED)
    last = f"{len(labels) - 1}"
    return f"the labels {', '.join(shown)} are the classes 0 … {last}, in this order"


def concat(*, parts: list[str], args: dict[str, Any]) -> Source:
    """Join data sets of one kind, sample after sample; official test sets are joined too.

    Args:
        parts: their options.
        args: settings of a part that are not its defaults, by its name.

    Raises:
        ConfigError: if one is no option, or they do not fit together.
    """
    known = [o.name for o in options("data") if o.name not in ("custom", "concat")]
    for name in parts:
        if name not in known:
            raise ConfigError(f"data.parts: {name} is not an option of data{closest(name, known)}")
    if len(parts) < 2 or len(set(parts)) != len(parts):
        raise ConfigError(f"data.parts must name at least two data sets, each once, got {parts}")
    for name in args:
        if name not in parts:
            raise ConfigError(f"data.args.{name}: {name} is not among data.parts={parts}{closest(name, parts)}")
    sources = [_source(name, Field(dict).parse(f"data.args.{name}", args.get(name, {}))) for name in parts]
    if odd := next((name for name, source in zip(parts, sources, strict=True) if source.corpus is not None), None):
        raise ConfigError(f"data.parts={parts}: {odd} reads sentences, which are joined in one file")
    first = sources[0]
    for name, source in zip(parts, sources, strict=True):
        kinds = [(s.samples.x.shape[1:], s.samples.y.shape[1:], s.classes, s.test is None) for s in (first, source)]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"data.parts={parts}: {name} does not fit {parts[0]}: inputs {list(source.samples.x.shape[1:])} of "
                f"{source.classes} classes beside {list(first.samples.x.shape[1:])} of {first.classes}"
            )
        if source.test_fraction != first.test_fraction:
            raise ConfigError(
                f"data.args.{name}.test_fraction must be that of {parts[0]}, {first.test_fraction}, as the test set is "
                f"held out of both together, got {source.test_fraction}"
            )
    if odd := next((name for name, source in zip(parts, sources, strict=True) if source.val is not None), None):
        raise ConfigError(
            f"data.parts={parts}: {odd} has a validation set of its own, which the joined data would leave out: "
            "give it without one"
        )
    joined = _joined([s.samples for s in sources])
    tests = [s.test for s in sources if s.test is not None]
    test = _joined(tests) if tests else None
    digest = fingerprint(joined, *([test] if test else []))
    return Source(
        joined,
        first.classes,
        digest,
        test,
        None if test else first.test_fraction,
        notes=tuple(note for source in sources for note in source.notes),
        labels=first.labels if all(source.labels == first.labels for source in sources) else None,
        categories=next((source.categories for source in sources if source.categories), ()),
    )


def _source(name: str, settings: dict[str, Any]) -> Source:
    """Return one of the data sets that are joined; its settings are checked as they are where it stands alone."""
    option = find("data", name)
    assert option is not None, "it is one of the options"
    known = {key: setting for key, setting in option.settings.items() if key != "normalize"}  # which is of the whole
    for key in settings:
        if key not in known:
            raise ConfigError(f"data.args.{name}.{key} is no setting of data={name}{closest(key, known)}")
    given = {}
    for key, setting in known.items():
        value = settings.get(key, setting.default)
        assert setting.field is not None, "of a shipped option it is known which values are valid"
        if value == REQUIRED:
            raise ConfigError(f"data.args.{name}.{key} must be given: {setting.field.describe()}")
        given[key] = setting.field.parse(f"data.args.{name}.{key}", value)
    try:
        found: Source = resolve(option.content["_target_"])(**given)
    except ConfigError as error:
        raise ConfigError(f"data.args.{name}: {error}") from error
    return found


def _joined(parts: list[Samples]) -> Samples:
    return Samples(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))
