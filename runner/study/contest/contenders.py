"""The optimizers of contests, and what each was published with: a factor in steps or compute, where one is claimed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """An optimizer as it takes part."""

    name: str
    """Of its option."""
    source: str
    claimed: float | None = None
    """How many times as many steps, or as much compute, Adam or AdamW was said to need; None: no such number."""
    claim: str = ""
    """What was said, of what."""
    schedule: str | None = None
    """Its own, in place of the contest's."""
    not_on: tuple[str, ...] = ()
    """Workloads whose models it is not for."""


_LINEAR = ("ill-conditioned", "mnist1d-cnn")
"""Without a hidden linear layer."""
ADAMW = Contender("adamw", "Loshchilov & Hutter 2019")
BASELINE = ADAMW.name
SGD = Contender("sgd", "Robbins & Monro 1951")
MOMENTUM = Contender("momentum", "Polyak 1964")
NESTEROV = Contender("nesterov", "Sutskever et al. 2013")
ADAGRAD = Contender("adagrad", "Duchi et al. 2011")
ADADELTA = Contender("adadelta", "Zeiler 2012")
RMSPROP = Contender("rmsprop", "Tieleman & Hinton 2012")
ADAM = Contender("adam", "Kingma & Ba 2015")
AMSGRAD = Contender("amsgrad", "Reddi et al. 2018")
ADAMAX = Contender("adamax", "Kingma & Ba 2015")
NADAM = Contender("nadam", "Dozat 2016")
RADAM = Contender("radam", "Liu et al. 2020")
LION = Contender("lion", "Chen et al. 2023", 2.3, "training compute of diffusion models, up to")
ADAN = Contender("adan", "Xie et al. 2022", 2.0, "half of the training cost on vision, language and RL")
ADABELIEF = Contender("adabelief", "Zhuang et al. 2020")
LAMB = Contender("lamb", "You et al. 2020")
LARS = Contender("lars", "You et al. 2017")
SCHEDULE_FREE = Contender(
    "schedule_free",
    "Defazio et al. 2024; Kasimbeg et al. 2025",
    1.08,
    "8 % faster over AlgoPerf's workloads, without tuning",
    "constant",
)
PRODIGY = Contender("prodigy", "Mishchenko & Defazio 2024")
ADEMAMIX = Contender("ademamix", "Pagliardini et al. 2024", 1.95, "101 in place of 197 billion tokens, 1.3B parameters")
MUON = Contender(
    "muon", "Jordan et al. 2024; Liu et al. 2025", 2.0, "compute of language models, about", not_on=_LINEAR
)
SOPHIA = Contender("sophia", "Liu et al. 2024", 2.0, "steps, compute and time of language models")
MARS = Contender("mars", "Yuan et al. 2024")
SOAP = Contender("soap", "Vyas et al. 2025", 1.67, "over 40 % fewer iterations, language models at large batches")
SHAMPOO = Contender("shampoo", "Gupta et al. 2018; Kasimbeg et al. 2025", 1.28, "28 % faster over AlgoPerf's workloads")
KRON = Contender("kron", "Li 2018")

OLDER = (ADAMW, MOMENTUM, ADAM, NADAM, RADAM)
NEWER = (
    *(LION, ADAN, ADABELIEF, LAMB, LARS, SCHEDULE_FREE, PRODIGY, ADEMAMIX, MUON),
    *(SOPHIA, MARS, SOAP, SHAMPOO, KRON),
)
FIFTEEN = (
    *(SGD, MOMENTUM, NESTEROV, ADAGRAD, ADADELTA, RMSPROP, ADAM, AMSGRAD, ADAMAX, NADAM, RADAM, ADAMW),
    *(LION, ADABELIEF, ADAN),
)
"""About those of Schmidt et al. 2021."""
