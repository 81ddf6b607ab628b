"""The studies of class theory: what each claims, its rule, and the sweep of ordinary runs that tests it."""

from runner.study import signals, steps
from runner.study.study import Study

_DEEP = ("model.width=512", "model.depth=30", "max_steps=1", "diagnostics=true", "save=none")
_QUADRATIC = (
    "data=quadratic",
    "model=linear",
    "model.bias=false",
    "loss=mse",
    "scheduler=constant",
    "init=normal",
    "init.std=1",
)

STUDIES = (
    Study(
        "relu-variance",
        "Each ReLU layer keeps the second moment under He's weights, halves it under Xavier's, "
        "and divides it by six under PyTorch's default",
        "He et al. 2015, §2.2",
        "theory",
        "log2 slope per layer 0, −1 and −2.585 over 30 layers of 512 units, 20 seeds, each ± 0.05",
        60,
        (*_DEEP, f"init.gain={signals.HE!r},{signals.XAVIER!r},{signals.DEFAULT!r}", "init=he_normal", "seeds=20"),
        signals.relu_variance,
    ),
    Study(
        "tanh-gain",
        "In deep tanh networks gradients grow by χ a layer towards the input: gain 1 is critical, He's and 5/3 explode",
        "Glorot & Bengio 2010; Schoenholz et al. 2017, eq. 9",
        "theory",
        "slope of log of the gradient's second moment over the 20 layers nearest the output: log 1.21 (gain 5/3) and "
        "log 1.106 (He) ± 10 %, below 0.08 for gain 1",
        40,
        (*_DEEP, "model.activation=tanh", "init=xavier_normal", f"init.gain={5 / 3!r},{signals.HE!r},1.0", "seeds=8"),
        signals.tanh_gain,
    ),
    Study(
        "symmetry",
        "Zero and constant weights never break the symmetry between units",
        "Goodfellow et al. 2016, §8.4",
        "theory",
        "all zero: hidden weights never move, the loss stays at the labels' entropy ± 0.01; "
        "constant: units stay within 1e-6 of each other",
        5,
        ("model.width=32", "epochs=10", "save=last", "optim=sgd", "optim.lr=0.1,0.3", "init=zeros,constant"),
        signals.symmetry,
    ),
    Study(
        "lsuv",
        "Layer-sequential unit variance gives every layer outputs of variance 1",
        "Mishkin & Matas 2016",
        "theory",
        "every layer's output variance 1 ± 0.1 at step 0, for mlp and cnn, relu and tanh",
        10,
        ("init=lsuv", "max_steps=1", "diagnostics=true", "model=mlp,cnn", "model.activation=relu,tanh"),
        signals.lsuv,
    ),
    Study(
        "quadratic-rates",
        "On a quadratic of condition number κ, gradient descent contracts by (κ−1)/(κ+1), the heavy ball by "
        "(√κ−1)/(√κ+1), Nesterov's method by 1 − 1/√κ",
        "Polyak 1964; Nesterov 2004, §2.2",
        "theory",
        "κ = 100: rate of the distance to the minimum ± 0.002",
        10,
        (
            *(*_QUADRATIC, "data.condition=100", "dtype=float64", "max_steps=600", "eval_every=1"),
            *("+", "optim=gd", f"optim.lr={steps.GD_LR!r}"),
            *(
                "+",
                "optim=momentum",
                "batch.size=40",
                f"optim.lr={steps.HEAVY_LR!r}",
                f"optim.momentum={steps.HEAVY_BETA!r}",
            ),
            *("+", "optim=nesterov", "batch.size=40", "optim.lr=1.0", f"optim.momentum={steps.NESTEROV_BETA!r}"),
        ),
        steps.quadratic_rates,
    ),
    Study(
        "divergence-threshold",
        "Gradient descent diverges above 2/L, the heavy ball above 2(1+β)/L, Nesterov's method above (2+2β)/(L(1+2β))",
        "Polyak 1964; Cohen et al. 2021, appendix B",
        "theory",
        "L = 1, β = 0.9: the loss falls at 0.99 of the threshold and diverges at 1.01 of it, for all three",
        20,
        (
            *(*_QUADRATIC, "max_steps=20000", "eval_every=200"),
            *("+", "optim=gd", f"optim.lr={0.99 * steps.THRESHOLDS['gd']!r},{1.01 * steps.THRESHOLDS['gd']!r}"),
            *(
                word
                for name in ("momentum", "nesterov")
                for word in (
                    *("+", f"optim={name}", "batch.size=40", f"optim.momentum={steps.BETA}"),
                    f"optim.lr={0.99 * steps.THRESHOLDS[name]!r},{1.01 * steps.THRESHOLDS[name]!r}",
                )
            ),
        ),
        steps.divergence_threshold,
    ),
    Study(
        "decay-forms",
        "For SGD an L2 penalty and decoupled weight decay are one; AdamW differs from Adam in the decay alone",
        "Loshchilov & Hutter 2019, propositions 1 and 2",
        "theory",
        "SGD: final weights equal to 1e-12; Adam and AdamW at weight decay 0 equal to the bit; "
        "with decay more than 1e-3 apart",
        5,
        (
            *("model.width=32", "dtype=float64", "max_steps=60", "save=last", "optim.lr=0.01", "eval_every=5"),
            *("+", "optim=sgd", "regularization=l2", "regularization.l2.strength=0.1"),
            *("+", "optim=sgd", "regularization=weight_decay", "regularization.weight_decay.rate=0.1"),
            *("+", "optim=adam"),
            *("+", "optim=adamw", "optim.weight_decay=0.0,0.1"),
            *("+", "optim=adam", "regularization=l2", "regularization.l2.strength=0.1"),
        ),
        steps.decay_forms,
    ),
    Study(
        "orthogonal-linear",
        "Deep linear networks from orthogonal weights keep norms and learn at 40 layers as at 10; "
        "from scaled Gaussian weights they do not learn",
        "Saxe et al. 2014, §3",
        "theory",
        "norm ratio through 50 layers 1 ± 1e-5; target 2·I, width 32, at the best lr: most orthogonal weights "
        "(product of determinant +1) reach loss 0.1 in 1,500 steps at 10 and 40 layers, Gaussian ones at 10 never",
        40,
        (
            *(
                "data=custom",
                "data.target=runner.study.parts.double",
                f"data.args={{features: {signals.LINEAR_WIDTH}}}",
            ),
            *("data.normalize=none", "loss=mse", f"model.width={signals.LINEAR_WIDTH}", "model.activation=identity"),
            *("model.bias=false", "optim=gd", "scheduler=constant", "save=none"),
            *("+", "init=orthogonal", "model.depth=50", "max_steps=1", "diagnostics=true"),
            *(
                "+",
                "init=orthogonal",
                "model.depth=9,39",
                "optim.lr=0.1,0.3",
                f"max_steps={signals.MOST_STEPS}",
                "eval_every=50",
                "seeds=8",
            ),
            *(
                "+",
                "init=lecun_normal",
                "model.depth=9",
                "optim.lr=0.01,0.03,0.1,0.3",
                f"max_steps={signals.MOST_STEPS}",
                "eval_every=50",
                "seeds=4",
            ),
        ),
        signals.orthogonal_linear,
    ),
    Study(
        "adam-first-step",
        "Adam's first step is the learning rate whatever the gradient; RMSprop's is ten times that, and without bias "
        "correction Adam's would be 3.16 times; scaling the loss changes nothing",
        "Kingma & Ba 2015, §2.1 and §3",
        "theory",
        "first step: Adam 1, RMSprop 10, Adam without correction 3.162 learning rates, each ± 1 %; "
        "loss × 1000: Adam's weights after 20 steps within 1e-9",
        5,
        (
            *("model=linear", "model.bias=false", "init=zeros", "scheduler=constant", "dtype=float64", "save=last"),
            *("+", "max_steps=1", "optim=adam,rmsprop", "optim.lr=0.001", "optim.eps=1e-12"),
            *("+", "max_steps=1", "optim=custom", "optim.target=runner.study.parts.UncorrectedAdam", "optim.lr=0.001"),
            *(
                "+",
                "max_steps=20",
                "optim=adam",
                "optim.eps=1e-16",
                "loss=cross_entropy,runner.study.parts.thousandfold",
            ),
        ),
        steps.adam_first_step,
    ),
    Study(
        "amsgrad",
        "On a convex problem with rare large gradients Adam goes to the worst point and AMSGrad to the best",
        "Reddi et al. 2018, §3",
        "theory",
        "slopes 1010 once in 101 and −10 otherwise on [−1, 1], β = (0.9, 0.99), lr = 0.5/√t, 100,000 steps: Adam ends "
        "above 0.8, AMSGrad below −0.8",
        60,
        (
            *(
                "data=custom",
                "data.target=runner.study.parts.reddi",
                "data.args={period: 101, large: 1010, small: -10}",
            ),
            *("data.normalize=none", "loss=runner.study.parts.output_itself", "model=linear", "model.bias=false"),
            *(
                "init=zeros",
                "batch.size=1",
                "batch.shuffle=false",
                "regularization=box",
                "regularization.box.bound=1.0",
                "save=last",
            ),
            *("scheduler=inverse_sqrt", "scheduler.timescale=1", "optim.lr=0.5", "optim.betas=[0.9,0.99]"),
            *("max_steps=100000", "eval_every=2000", "optim=adam,amsgrad"),
        ),
        steps.amsgrad,
    ),
    Study(
        "muon-orthogonal",
        "Five Newton–Schulz iterations bring every singular value of the update near 1",
        "Jordan et al. 2024",
        "theory",
        "64×128 Gaussian gradient: singular values of the update within 0.5 … 1.5",
        5,
        (
            *(
                "data=custom",
                "data.target=runner.study.parts.directions",
                "data.args={rows: 64, columns: 128, seed: 0}",
            ),
            *("data.normalize=none", "loss=runner.study.parts.inner_product", "model.width=64", "model.depth=1"),
            *("model.activation=identity", "model.bias=false", "init=identity", "optim=muon", "optim.lr=1.0"),
            *("scheduler=constant", "batch.size=128", "max_steps=1", "save=last"),
        ),
        steps.muon_orthogonal,
    ),
    Study(
        "mup-transfer",
        "In the maximal update parametrization the size of Adam's function change does not grow with the width; in the "
        "standard one it does",
        "Yang et al. 2022, Fig. 5 and table 8",
        "theory",
        "3 Adam steps, width 64 … 1024 (mlp on digits, 5 seeds) and 64 … 512 (gpt on text, 2 seeds): log-log slope of "
        "the mean change of the logits over the width ≥ 0.7 in the standard parametrization, 0 ± 0.2 in muP",
        50,
        (
            *("optim=adam", "optim.lr=0.001", "max_steps=3", "eval_every=3", "scheduler=constant", "save=last"),
            *("+", "model.width=64,128,256,512,1024", "model.mup=false", "seeds=5"),
            *("+", "model.width=64,128,256,512,1024", "model.mup=true", "model.base_width=64", "seeds=5"),
            *(
                word
                for given in (("model.mup=false",), ("model.mup=true", "model.base_width=64"))
                for word in (
                    *("+", "data=text", "data.characters=20000", "data.context=32", "batch.size=16", "model=gpt"),
                    *("model.width=64,128,256,512", *given, "seeds=2"),
                )
            ),
        ),
        steps.mup_transfer,
    ),
    Study(
        "dying-relu",
        "A narrow deep ReLU network with zero biases is born dead for a given input with probability "
        "1 − (1 − 2^−width)^depth",
        "Lu et al. 2019, theorem 3",
        "theory",
        "4,000 networks of 10 hidden layers, width 2, 3, 5, 10: share ± 0.02",
        20,
        (
            *("data=custom", "data.target=runner.study.parts.one_input", "data.normalize=none", "batch.size=2"),
            *("model=custom", "model.target=runner.study.parts.NarrowNets", "init=he_normal", "max_steps=1"),
            *("diagnostics=true", "save=none"),
            *(
                word
                for width in (2, 3, 5, 10)
                for word in (
                    *("+", f"data.args={{features: {width}, outputs: 4000, seed: {width}}}"),
                    f"model.args={{width: {width}, depth: {signals.DYING_DEPTH}}}",
                )
            ),
        ),
        signals.dying_relu,
    ),
    Study(
        "smoothing-floor",
        "Label smoothing bounds the training loss from below by the entropy of the smoothed targets",
        "Szegedy et al. 2016, §7; Müller et al. 2019",
        "theory",
        "ε = 0.1, 10 separable classes, linear model: the smoothed training loss stays ≥ 0.5003 and ends within 0.01 "
        "of it; without smoothing it falls below 0.01",
        5,
        (
            *("data=custom", "data.target=runner.study.parts.separable", "data.args={classes:10,size:3.0}"),
            *("data.normalize=none", "model=linear", "optim=adam", "optim.lr=0.1", "batch.size=10", "max_steps=600"),
            *("eval_every=20", "dtype=float64", "regularization=none,label_smoothing"),
        ),
        steps.smoothing_floor,
    ),
    Study(
        "weight-variance",
        "PyTorch's default weights have variance 1/(3·fan_in), a sixth of He's 2/fan_in and a third of Xavier's",
        "He et al. 2015, eq. 10; Glorot & Bengio 2010, eq. 16; torch.nn.Linear",
        "theory",
        "variance times fan_in of square layers of 512 units, 3 seeds: default 1/3, Xavier 1, He 2, each ± 1 %",
        5,
        (
            *("model.width=512", "model.depth=4", "max_steps=1", "diagnostics=true", "save=none", "seeds=3"),
            "init=default,xavier,he",
        ),
        signals.weight_variance,
    ),
    Study(
        "sgd-step",
        "A step of SGD is the learning rate times the gradient, early and late: nothing adjusts it; Adam's is not",
        "Robbins & Monro 1951; Goodfellow et al. 2016, §8.3.1",
        "theory",
        "size of step over size of gradient at steps 2, 11 and 101: SGD's is the learning rate, to 1e-9 of it; "
        "Adam's largest more than 1.5 times its smallest",
        5,
        (
            *("model.width=32", "dtype=float64", "save=last", "scheduler=constant", "max_steps=1,2,10,11,100,101"),
            *("+", "optim=sgd", f"optim.lr={steps.SGD_LR}", "+", "optim=adam"),
        ),
        steps.sgd_step,
    ),
    Study(
        "rmsprop-still",
        "RMSprop leaves a weight without a gradient where it is; an L2 penalty shrinks it",
        "Tieleman & Hinton 2012; Krogh & Hertz 1992",
        "theory",
        "digits from 0 to 1, weights of pixels that are never inked, 60 steps: under RMSprop none moves; "
        "under SGD with L2 (1 − lr·strength)^60 of each is left, ± 1e-9",
        5,
        (
            *("model=linear", "model.bias=false", "init=constant", f"init.value={steps.STILL_WEIGHT}", "dtype=float64"),
            *(
                "data.normalize=minmax",
                "scheduler=constant",
                f"max_steps={steps.STILL_STEPS}",
                "save=last",
                f"optim.lr={steps.STILL_LR}",
            ),
            *("+", "optim=sgd,rmsprop"),
            *("+", "optim=sgd", "regularization=l2", f"regularization.l2.strength={steps.STILL_STRENGTH}"),
        ),
        steps.rmsprop_still,
    ),
)
