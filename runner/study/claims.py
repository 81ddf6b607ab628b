"""Studies of class theory on what beginners are told: each claim beside the sweep of ordinary runs that tests it."""

from runner.study import paths, signals, updates
from runner.study.study import Study

_SMALL = ("model.width=32", "dtype=float64", "scheduler=constant")

STUDIES = (
    Study(
        "decay-threshold",
        "Decoupled weight decay λ does not prevent divergence: it lowers the rate at which gradient descent diverges "
        "from 2/L to 2/(L + λ), where lr = (2 − lr·λ)/L",
        "Loshchilov & Hutter 2019, algorithm 1; Polyak 1964",
        "theory",
        "L = 1, λ = 0.05 and 0.5: gradient descent ends at 0.99 of the threshold and diverges at 1.01 of it; at lr "
        "1.98 it ends without decay and diverges with λ = 0.05",
        15,
        (
            *("data=quadratic", "model=linear", "model.bias=false", "loss=mse", "scheduler=constant"),
            *("init=normal", "init.std=1", "optim=gd", "max_steps=5000", "eval_every=100"),
            *("+", f"optim.lr={updates.LARGE_RATE}"),
            *(
                word
                for decay in updates.DECAYS
                for word in (
                    *("+", "regularization=weight_decay", f"regularization.weight_decay.rate={decay}"),
                    f"optim.lr={0.99 * updates.threshold(decay)!r},{1.01 * updates.threshold(decay)!r}"
                    + (f",{updates.LARGE_RATE}" if decay == updates.DECAYS[0] else ""),
                )
            ),
        ),
        updates.decay_threshold,
    ),
    Study(
        "optimizer-memory",
        "SGD keeps no number of each weight, momentum and RMSprop one, Adam and AdamW two, AMSGrad three",
        "Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2",
        "theory",
        "bytes of the optimizer's state over those of the weights: 0, 1, 1, 2, 2 and 3, each ± 0.01",
        5,
        ("model.width=64", "max_steps=2", "save=none", "optim=sgd,momentum,rmsprop,adam,adamw,amsgrad"),
        updates.optimizer_memory,
    ),
    Study(
        "zeros-linear",
        "From zero weights a linear model trains as well as from any others: its loss is convex, and it has no hidden "
        "units that would stay alike",
        "Boyd & Vandenberghe 2004, §9.3; Goodfellow et al. 2016, §8.4",
        "theory",
        "logistic regression of the digits with L2 (0.2), full batch, 3,000 steps: weights from zero and from three "
        "Gaussian draws end within 1e-9 of each other, and from zero the test accuracy is above 0.85",
        10,
        (
            *("model=linear", "model.bias=false", "dtype=float64", "optim=gd", "optim.lr=0.05", "scheduler=constant"),
            *("regularization=l2", "regularization.l2.strength=0.2", "max_steps=3000", "eval_every=500", "save=last"),
            *("+", "init=zeros", "+", "init=normal", "init.std=1", "seed=0,1,2"),
        ),
        updates.zeros_linear,
    ),
    Study(
        "ema-rate",
        "An exponential moving average of the weights changes what is judged, and neither the rate nor any step",
        "Polyak & Juditsky 1992",
        "theory",
        "60 steps with it and without: rates and losses of every batch equal to the bit, validation losses more than "
        "1e-3 apart",
        5,
        (*_SMALL, "optim=sgd", "max_steps=60", "eval_every=1", "engine=loop", "regularization=none,ema"),
        updates.ema_rate,
    ),
    Study(
        "early-decay",
        "Weight decay does not keep the first steps small: it adds −lr·λ·w to a step that is the rate; a warm-up does",
        "Loshchilov & Hutter 2019, algorithm 2; Goyal et al. 2017, §2.2",
        "theory",
        "weights 0.5, λ = 0.1: AdamW's first step less Adam's is −lr·λ·w to 1e-12, which is 5 % (± 0.1 %) of Adam's; "
        "a warm-up of 10 steps makes the first a tenth, ± 1 %",
        5,
        (
            *("model=linear", "model.bias=false", "init=constant", f"init.value={updates.EARLY_WEIGHT}"),
            *("dtype=float64", "scheduler=constant", f"optim.lr={updates.EARLY_RATE}", "save=last"),
            *(
                word
                for how in (("max_steps=1",), ("max_steps=20", "eval_every=1", f"scheduler.warmup=0,{updates.WARM_UP}"))
                for word in (
                    *("+", "optim=adam", *how),
                    *("+", "optim=adamw", f"optim.weight_decay={updates.EARLY_DECAY}", *how),
                )
            ),
        ),
        updates.early_decay,
    ),
    Study(
        "cosine-fixed",
        "A cosine schedule adapts to nothing: its rate at each step is known before the run, whatever is learned",
        "Loshchilov & Hutter 2017, eq. 5",
        "theory",
        "200 steps on two data sets with two optimizers: every rate within 1e-12 of (1 + cos(π·t/T))/2 of the first; "
        "under plateau, which looks at the validation loss, rates of two runs are more than 0.1 of the first apart",
        10,
        (
            *("model.width=32", f"max_steps={updates.COSINE_STEPS}", "save=none", "data=digits,mnist1d"),
            *("+", "scheduler=cosine", "eval_every=1", "optim=sgd,adam"),
            *("+", "scheduler=plateau", "scheduler.patience=1", "eval_every=5", "optim=sgd", "optim.lr=0.5"),
        ),
        updates.cosine_fixed,
    ),
    Study(
        "fan-mode",
        "Where layers are not square, He's fan_in keeps signals and fan_out keeps gradients; either keeps both over "
        "depth, as what one layer multiplies the next divides",
        "He et al. 2015, §2.2, eq. 10 and 14",
        "theory",
        "30 ReLU layers of 512 and 256 units in turn, 10 seeds: log2 of a layer's factor is 0 and −1 or 1 (signals "
        "± 0.05, gradients ± 0.1), and every slope over depth 0 ± 0.05",
        40,
        (
            f"model.widths=[{','.join(map(str, signals.FAN_WIDTHS * 15))}]",
            *("max_steps=1", "diagnostics=true", "save=none", "seeds=10"),
            *("+", "init=he_normal"),
            *("+", "init=custom", "init.target=torch.nn.init.kaiming_normal_"),
            "init.args={mode: fan_out, nonlinearity: relu}",
        ),
        signals.fan_mode,
    ),
    Study(
        "momentum-rate",
        "Momentum β multiplies the rate by 1/(1 − β): heavy balls of rate lr·(1 − β) go where descent of rate lr goes",
        "Polyak 1964; Goodfellow et al. 2016, §8.3.2",
        "theory",
        "on a slope a step is lr/(1 − β) times the gradient, to 1e-6, for β = 0.5, 0.9 and 0.99; tanh network on "
        "digits, full batch, 500 steps: training loss within 5 % of descent's at lr·(1 − β), 20 % off at the same lr",
        20,
        (
            *("scheduler=constant", "save=last"),
            *("+", "data=custom", "data.target=runner.study.parts.reddi", "data.args={period:2,large:1,small:1}"),
            *("data.normalize=none", "loss=runner.study.parts.output_itself", "model=linear", "model.bias=false"),
            *("init=zeros", "dtype=float64", "optim=momentum", "batch.size=2", "eval_every=1000"),
            f"optim.lr={paths.SLOPE_RATE}",
            "optim.momentum=" + ",".join(map(str, paths.FRICTIONS)),
            f"max_steps={paths.LAST - 1},{paths.LAST}",
            *("+", "data=digits", "model.width=32", "model.activation=tanh", "max_steps=500", "eval_every=25"),
            *(f"batch.size={paths.DIGITS}", "optim=momentum", "optim.lr=0.01,0.1"),
            *("+", "data=digits", "model.width=32", "model.activation=tanh", "max_steps=500", "eval_every=25"),
            *("optim=gd", "optim.lr=0.1"),
        ),
        paths.momentum_rate,
    ),
    Study(
        "effective-rate",
        "Where a weight's scale does not matter, as behind normalization, lr over its square is the rate that counts",
        "van Laarhoven 2017; Hoffer et al. 2018, §3",
        "theory",
        "linear model of the weights' directions, SGD, 200 steps: weights of twice the size at four times the rate "
        "have the same losses, to 1e-9 of them; at the same rate they differ by more than 1 %",
        5,
        (
            *("model=custom", "model.target=runner.study.parts.ScaleFree", "init=normal", "dtype=float64"),
            *("optim=sgd", "scheduler=constant", "max_steps=200", "eval_every=10", "save=none"),
            *("+", "init.std=1", "optim.lr=0.25,1", "+", "init.std=2", "optim.lr=1,4"),
        ),
        paths.effective_rate,
    ),
    Study(
        "max-margin",
        "On separable classes gradient descent of the logistic loss goes to the direction of the largest margin, its "
        "weights grow as log t over the margin and its loss falls as 1/t",
        "Soudry et al. 2018, theorem 3",
        "theory",
        "three points of margin 1, up to 100,000 steps: the angle falls with each tenfold of steps to at most 0.05; "
        "over the last the weights grow by 1 ± 0.05 a log step and log loss falls by 1 ± 0.05 a log step",
        40,
        (
            *("data=custom", "data.target=runner.study.parts.margin", "data.normalize=none", "model=linear"),
            *("model.bias=false", "init=zeros", "optim=gd", "optim.lr=0.3", "scheduler=constant", "dtype=float64"),
            *("eval_every=5000", "save=last", "max_steps=" + ",".join(map(str, paths.MARGIN_STEPS))),
        ),
        paths.max_margin,
    ),
    Study(
        "early-variance",
        "Adam's rate for a weight is uncertain while its second moment has seen few gradients: what a warm-up is for",
        "Liu et al. 2020, §3",
        "theory",
        "20,000 weights under Gaussian gradients, no momentum, β₂ = 0.99999: over the weights the variance of the rate "
        "at steps 10, 20, 50 and 200 is that of √(n/χ²ₙ), each ± 10 %",
        15,
        (
            *("data=custom", "data.target=runner.study.parts.slopes", "data.normalize=none", "batch.size=1"),
            f"data.args={{rows: {paths.SLOPES['rows']}, weights: {paths.SLOPES['weights']}, seed: 0}}",
            *("batch.shuffle=false", "loss=runner.study.parts.output_itself", "model=linear", "model.bias=false"),
            *("init=zeros", "dtype=float64", "optim=adam", "optim.lr=1", "optim.betas=[0.0,0.99999]"),
            *("optim.eps=1e-12", "scheduler=constant", "eval_every=200", "save=last"),
            "max_steps=" + ",".join(str(step) for seen in paths.SEEN for step in (seen - 1, seen)),
        ),
        paths.early_variance,
    ),
)
