"""Optimizers: update rules over parameters and their gradients (torch.optim)."""

from __future__ import annotations

from lazyt.missing import getattr_of
from lazyt.optim import lr_scheduler, swa_utils
from lazyt.optim.adadelta import Adadelta
from lazyt.optim.adafactor import Adafactor
from lazyt.optim.adagrad import Adagrad
from lazyt.optim.adam import Adam
from lazyt.optim.adamax import Adamax
from lazyt.optim.adamw import AdamW
from lazyt.optim.asgd import ASGD
from lazyt.optim.lbfgs import LBFGS
from lazyt.optim.muon import Muon
from lazyt.optim.nadam import NAdam
from lazyt.optim.optimizer import Optimizer
from lazyt.optim.radam import RAdam
from lazyt.optim.rmsprop import RMSprop
from lazyt.optim.rprop import Rprop
from lazyt.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]

__getattr__ = getattr_of(__name__)
