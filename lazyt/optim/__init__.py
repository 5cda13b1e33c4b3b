"""Optimizers: update rules over parameters and their gradients (torch.optim)."""

from __future__ import annotations

from lazyt.missing import getattr_of
from lazyt.optim import lr_scheduler
from lazyt.optim.adam import Adam, AdamW
from lazyt.optim.optimizer import Optimizer
from lazyt.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]

__getattr__ = getattr_of(__name__)
