"""Models: functions of the input's shape and the number of outputs, one an option.

A model is called as ``model(x, drop)``: ``drop(hidden, place)`` is handed in and applied to the hidden units at each
numbered place, so that models keep no random state. In evaluation nothing is dropped. One whose forward takes no
``drop`` has nothing that ``regularization=dropout`` could reach.
"""

from runner.model.activations import ACTIVATIONS, Shape
from runner.model.bag import Bag
from runner.model.convolution import CNN, ResNet, cnn, resnet
from runner.model.fully_connected import MLP, linear, mlp
from runner.model.own import custom
from runner.model.recurrent import RNN, SentenceRNN, rnn
from runner.model.torchvision import Resized, from_torchvision
from runner.model.transformer import GPT, Encoder, ViT, encoder, gpt, vit

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "GPT",
    "MLP",
    "RNN",
    "Bag",
    "Encoder",
    "ResNet",
    "Resized",
    "SentenceRNN",
    "Shape",
    "ViT",
    "cnn",
    "custom",
    "encoder",
    "from_torchvision",
    "gpt",
    "linear",
    "mlp",
    "resnet",
    "rnn",
    "vit",
]
