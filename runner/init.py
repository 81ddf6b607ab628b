"""Initializers, one an option: functions that fill one weight from a generator, or a whole model.

Linear and convolution layers, recurrent ones (gate by gate) and torch's attention are filled, and their biases set.
Embeddings, which no fan describes, stay as the model draws them, except under an initializer of a given scale; norm
layers stay 1 and 0 (Ioffe & Szegedy 2015). The last layer of a residual branch may say ``residual_branches``, how many
there are: its weights are divided by their root, so that the sum of branches keeps its scale (Radford et al. 2019,
§2.3). A model in muP has its weights rescaled by ``runner.mup``.

Weights are matrices and kernels ``[out, in, …]``: fan_in is in·receptive field, fan_out is out·receptive field.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from runner import mup
from runner.config.imports import accepts
from runner.config.own_parts import call, path_of
from runner.engine import checkpoint, weights
from runner.errors import PartError, RecordError
from runner.noise import derive, generator, seed_global

Filled = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
"""The layers whose weights are filled."""


def default(*, head: str | None) -> None:
    """Leave what PyTorch's constructors drew: variance 1/(3·fan_in), biases uniform in ±1/√fan_in.

    Args:
        head: names the initializer that ``construct`` draws the last layer by.
    """


def zeros(weight: Tensor, generator: Generator) -> None:
    """Set every weight to 0."""
    nn.init.zeros_(weight)


def normal(weight: Tensor, generator: Generator, *, std: float) -> None:
    """Draw from N(0, std²)."""
    nn.init.normal_(weight, 0.0, std, generator=generator)


def uniform(weight: Tensor, generator: Generator, *, bound: float) -> None:
    """Draw from U(-bound, bound)."""
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def xavier_uniform(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw uniformly with variance 2·gain²/(fan_in + fan_out), gain 1 (Glorot & Bengio 2010, eq. 16)."""
    nn.init.xavier_uniform_(weight, gain, generator=generator)


def xavier_normal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw from a Gaussian of variance 2·gain²/(fan_in + fan_out), gain 1 (Glorot & Bengio 2010, eq. 12)."""
    nn.init.xavier_normal_(weight, gain, generator=generator)


def he_uniform(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw uniformly with variance gain²/fan_in, gain √2 (He et al. 2015, eq. 10)."""
    bound = math.sqrt(3.0) * _std_by_fan_in(weight, gain)
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def he_normal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw from a Gaussian of variance gain²/fan_in, gain √2 (He et al. 2015, eq. 10)."""
    nn.init.normal_(weight, 0.0, _std_by_fan_in(weight, gain), generator=generator)


def constant(weight: Tensor, generator: Generator, *, value: float) -> None:
    """Set every weight to one value."""
    nn.init.constant_(weight, value)


def trunc_normal(weight: Tensor, generator: Generator, *, std: float) -> None:
    """Draw from N(0, std²) within ± 2 std."""
    nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)


def lecun_normal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw from a Gaussian of variance gain²/fan_in, gain 1 (LeCun et al. 1998, eq. 16)."""
    nn.init.normal_(weight, 0.0, _std_by_fan_in(weight, gain), generator=generator)


def orthogonal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw ``[out, in·field]`` with orthonormal rows or columns, uniformly, times gain (Saxe et al. 2014)."""
    nn.init.orthogonal_(weight, gain, generator=generator)


def identity(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Set the identity times gain: matrices (Le et al. 2015), and kernels that pass their centre on (Dirac's)."""
    if weight.ndim == 2:
        nn.init.eye_(weight)
    else:
        nn.init.dirac_(weight)
    weight.mul_(gain)


def lsuv(model: nn.Module, x: Tensor, seed: int, *, samples: int, tolerance: float, max_iterations: int) -> None:
    """Draw orthogonal weights, then scale each layer in turn until its output has variance 1 (Mishkin & Matas 2016).

    Args:
        model: its biases are set already.
        x: the training inputs, ``[n, …]``; the first ``samples`` are the calibration batch.
        seed: of the weights.
        samples: how many of them.
        tolerance: how near to 1 the variance must come.
        max_iterations: rescalings of a layer, after which it stays as it is.
    """
    for name, weight in filled_weights(model):
        orthogonal(weight, generator_of(seed, name), gain=1.0)
    batch, variances = x[:samples], {}
    training = model.training
    model.eval()
    for name, module in filled_modules(model):
        hook = module.register_forward_hook(lambda _, __, output, name=name: variances.update({name: output.var()}))
        for _ in range(max_iterations):
            model(batch)
            if name not in variances:  # its weights are used and it is not called, as attention's last layer of torch's
                break
            variance = float(variances[name])
            if abs(variance - 1) < tolerance or variance == 0:
                break
            module.weight.div_(math.sqrt(variance))
        hook.remove()
    model.train(training)


def pretrained(
    model: nn.Module, x: Tensor, seed: int, *, run: str | None, path: str | None, partial: bool, head: str | None
) -> None:
    """Take the weights of a run of one's own, or of a file.

    Args:
        model: what they are put into.
        x: the training inputs.
        seed: the run's.
        run: the folder of a run.
        path: the file, where there is no run.
        partial: take what fits.
        head: names the initializer that ``construct`` draws the last layer by, whose weights are not taken.

    Raises:
        ValueError: if there are none, the run has not ended, or they do not fit; with ``partial``, if none fits.
    """
    said = f"init.run={run}" if run is not None else f"init.path={path}"
    saved = _of_run(run) if run is not None else weights.read(Path(str(path)).expanduser(), said)
    own, layers = model.state_dict(), filled_modules(model)
    last = weights.names_in(*layers[-1]) if layers else []
    left_out = last if head is not None else []
    fitting, odd = weights.fitting(own, saved, left_out), weights.differences(own, saved, left_out)
    if not fitting or (odd and not partial):
        hint = "; init.partial=true takes what fits" if fitting else ""
        if odd and all(difference.partition(" ")[0] in last for difference in odd):
            hint = "; init.head=xavier_uniform, or another initializer, draws a last layer of another size"
        raise ValueError(f"{said} does not fit this model: {weights.named(odd) or 'nothing is left to take'}{hint}")
    model.load_state_dict({**own, **fitting})


def _of_run(run: str) -> weights.State:
    path = Path(run).expanduser() / "checkpoint.pt"
    if not path.is_file():
        raise ValueError(
            f"init.run={run} has no checkpoint.pt: give the folder of a run trained with save=last or best"
        )
    try:
        saved: weights.State = checkpoint.load_weights(path)["model"]
    except RecordError as error:
        raise ValueError(f"init.run={run}: {error}") from error
    return saved


def custom(weight: Tensor, generator: Generator, *, target: Callable[..., object], args: dict[str, Any]) -> None:
    """Fill with the user's function, which gets the generator where it names it, or else a seeded global one.

    What it may look like stands in ``configs/init/custom.yaml``.

    Raises:
        PartError: if it returns other weights in the place of filling these.
    """
    drawn = {"generator": generator} if accepts(target, "generator") else {}
    with torch.random.fork_rng(devices=[]):
        seed_global(generator.initial_seed())
        given = call("init.target", target, weight, args=args, **drawn)
    if isinstance(given, Tensor) and given.data_ptr() != weight.data_ptr():
        said = f"init.target={path_of(target)} returns other weights: it must fill those that it is given, in place"
        raise PartError("init.target", said)


def _std_by_fan_in(weight: Tensor, gain: float) -> float:
    return gain / math.sqrt(weight[0].numel())


def filled_modules(model: nn.Module) -> list[tuple[str, Filled]]:
    """Return the layers that initializers fill, by name; one that occurs twice, once."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Filled)]


def called_modules(model: nn.Module) -> list[tuple[str, Filled]]:
    """Return those of ``filled_modules`` that are called; torch's attention reads the weight of its last layer."""
    read = {id(module.out_proj) for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    return [(name, module) for name, module in filled_modules(model) if id(module) not in read]


def filled_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the weights that initializers fill, by their layer's name: of a recurrent layer one a gate.

    Of torch's attention, which holds those of queries, keys and values as one, each by itself.
    """
    found: list[tuple[str, Tensor]] = []
    for name, module in model.named_modules():
        if isinstance(module, Filled):
            found.append((name, module.weight))
        elif isinstance(module, nn.RNNBase):
            for key, parameter in module.named_parameters():
                if parameter.ndim == 2:
                    gates = torch.split(parameter, module.hidden_size)
                    found += [(f"{name}.{key}.{gate}", weight) for gate, weight in enumerate(gates)]
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            parts = module.in_proj_weight.chunk(3)  # of queries, keys and values
            found += [(f"{name}.in_proj_weight.{part}", weight) for part, weight in enumerate(parts)]
    return found


def _biases(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the biases that go with them, by their names."""
    return [
        (f"{name}.{key}", parameter)
        for name, module in model.named_modules()
        if isinstance(module, Filled | nn.RNNBase | nn.MultiheadAttention)
        for key, parameter in module.named_parameters(recurse=False)
        if key.startswith(("bias", "in_proj_bias"))
    ]


def generator_of(seed: int, name: str) -> Generator:
    """Return a layer's own stream: adding a layer leaves the other layers' weights as they were."""
    return generator(seed, "weights", name)


def construct(
    model: Callable[[], nn.Module],
    seed: int,
    fill: Callable[..., object] | None,
    bias: float,
    x: Callable[[], Tensor],
    variance: str = "fan_in",
    bias_std: float = 0.0,
    head: Callable[..., object] | None = None,
) -> nn.Module:
    """Construct a model with its initial weights, a function of the seed alone.

    Args:
        model: the constructor; it may draw from the global generator, which is restored.
        seed: the run's seed.
        fill: the initializer, of one weight or of the whole model; None for the constructor's own weights.
        bias: the value of every bias where there is an initializer.
        x: gives the training inputs, for an initializer that looks at them.
        variance: how that of the initializer's weights depends on their fans, one of ``mup.VARIANCES``; one whose
            scale is ``given`` and not a fan's fills embeddings too.
        bias_std: the standard deviation of the biases, which are Gaussian around ``bias``, from streams of their own.
        head: the initializer of the last layer, in the place of the others; its bias is 0.

    Raises:
        ValueError: if there is an initializer and nothing that it applies to, or weights that it takes do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        seed_global(derive(seed, "weights"))
        built = model()
    if fill is None:
        mup.rescale(built, variance, biases=True)
    else:
        _fill(built, seed, fill, (bias, bias_std), x, variance)
    _draw_head(built, seed, head)
    return built


def _fill(
    built: nn.Module,
    seed: int,
    fill: Callable[..., object],
    biases: tuple[float, float],
    x: Callable[[], Tensor],
    variance: str,
) -> None:
    """Fill a model; see ``construct``. ``biases`` are their mean and standard deviation."""
    if not filled_weights(built):
        raise ValueError("the model has no linear, convolution or recurrent layer to initialize: use init=default")
    mean, deviation = biases
    with torch.no_grad():
        taken = getattr(fill, "func", fill) is pretrained  # what it does not take stays as it was constructed
        for name, parameter in () if taken else _biases(built):
            nn.init.constant_(parameter, mean)
            if deviation:
                nn.init.normal_(parameter, mean, deviation, generator=generator(seed, "biases", name))
        if accepts(fill, "model"):
            fill(built, x(), seed)
            return
        for name, weight in filled_weights(built):
            fill(weight, generator_of(seed, name))
        for _, module in filled_modules(built):
            if branches := getattr(module, "residual_branches", None):
                module.weight.div_(math.sqrt(branches))
        if variance == "given":
            for name, module in built.named_modules():
                if isinstance(module, nn.Embedding):
                    fill(module.weight, generator_of(seed, name))
    mup.rescale(built, variance, biases=False)


def _draw_head(built: nn.Module, seed: int, head: Callable[..., object] | None) -> None:
    """Draw the last layer, its bias 0; refuse one of another size than its weights that nothing draws."""
    if head is None:
        odd = next((found for m in built.modules() if (found := getattr(m, "of_another_size", None))), None)
        if odd is not None:
            raise ValueError(f"{odd}; init.head=xavier_uniform, or another initializer, draws it")
        return
    if not (layers := filled_modules(built)):
        raise ValueError("the model has no linear or convolution layer as its last one, which init.head draws")
    name, layer = layers[-1]
    if sum(p is layer.weight for _, p in built.named_parameters(remove_duplicate=False)) > 1:
        raise ValueError(f"init.head cannot draw {name}, which shares its weights with another layer")
    with torch.no_grad():
        head(layer.weight, generator_of(seed, name))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
