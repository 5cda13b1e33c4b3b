"""Training: optimizers, schedulers and whole steps.

o4 = torch.optim.SGD(m2.parameters(), lr=0.1, momentum=0.5)
s5 = torch.optim.lr_scheduler.StepLR(o4, 2, 0.5)
for i in range(3): zero_grad, forward, backward, step
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Statement
from .model import F64
from .modules import MODULES, Module, Modules

# Adaptive ones with a large eps: they divide a gradient by its size, also one that is nothing but
# rounding. (Rprop follows its sign; tests/test_optim_rules.py has it.)
OPTIMIZERS = [
    "SGD({p}, lr=0.1)",
    "SGD({p}, lr=0.1, momentum=0.5, weight_decay=0.01)",
    "SGD({p}, lr=0.05, momentum=0.5, nesterov=True)",
    "SGD({p}, lr=0.1, momentum=0.5, dampening=0.25, maximize=True)",
    "Adam({p}, lr=0.1, eps=0.01)",
    "Adam({p}, lr=0.05, betas=(0.5, 0.9), amsgrad=True, weight_decay=0.1, eps=0.01)",
    "AdamW({p}, lr=0.1, eps=0.01)",
    "AdamW({p}, lr=0.05, foreach=False, eps=0.01)",
    "RMSprop({p}, lr=0.05, eps=0.01)",
    "RMSprop({p}, lr=0.05, momentum=0.5, centered=True, eps=0.01)",
    "Adagrad({p}, lr=0.1, eps=0.01)",
    "Adadelta({p}, lr=1.0, eps=0.01)",
    "Adamax({p}, lr=0.1, eps=0.01)",
    "NAdam({p}, lr=0.05, eps=0.01)",
    "RAdam({p}, lr=0.05, eps=0.01)",
    "ASGD({p}, lr=0.1)",
    "LBFGS({p}, lr=0.1, max_iter=3)",
    "SGD([{{'params': {p}, 'lr': 0.05}}], lr=0.1)",
]
SCHEDULERS = [
    "StepLR({o}, 2, gamma=0.5)",
    "MultiStepLR({o}, [1, 3], gamma=0.5)",
    "ExponentialLR({o}, 0.75)",
    "LinearLR({o}, start_factor=0.5, total_iters=3)",
    "ConstantLR({o}, factor=0.5, total_iters=2)",
    "PolynomialLR({o}, total_iters=4, power=2)",
    "CosineAnnealingLR({o}, 4, eta_min=0.01)",
    "CosineAnnealingWarmRestarts({o}, 2, T_mult=2)",
    "LambdaLR({o}, lambda n: 0.9 ** n)",
    "MultiplicativeLR({o}, lambda n: 0.9)",
    "CyclicLR({o}, 0.01, 0.1, step_size_up=2, cycle_momentum=False)",
    "OneCycleLR({o}, 0.2, total_steps=40, cycle_momentum=False)",
]
LOSSES = [
    "{y}.pow(2).mean()",
    "F.mse_loss({y}, torch.ones_like({y}))",
    "F.smooth_l1_loss({y}, torch.zeros_like({y}), beta=0.5)",
    "{y}.logsumexp(-1).sum()",
]
# The usual shapes of a few steps, each as its statements.
STEPS = [
    [
        """for i in range({n}):
    {o}.zero_grad({how})
    loss = {loss}
    loss.backward()
    {clip}
    {o}.step()"""
    ],
    [
        "{o}.zero_grad()",
        "for i in range({n}):\n    loss = {loss} / {n}\n    loss.backward()",
        "{o}.step()",
    ],
    [
        """def closure():
    {o}.zero_grad()
    loss = {loss}
    loss.backward()
    return loss""",
        "out.append({o}.step(closure).item())",
    ],
]
CLIPS = ["pass", "nn.utils.clip_grad_norm_({m}.parameters(), 1.0)", "out.append(loss.item())"]


@dataclass(eq=False)
class Optimizer:
    """An optimizer of the program and the module it steps."""

    name: str
    module: Module
    text: str


class Training(Modules):
    """Adds optimizers."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.optimizers: dict[str, Optimizer] = {}
        self.schedulers: dict[str, Optimizer] = {}

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("training", 5, self.new_optimizer),
            ("training", 10, self.train),
            ("training", 4, self.schedule),
            ("training", 2, self.single_step),
            ("training", 3, self.read_optimizer),
            ("training", 2, self.restore_optimizer),
        ]

    def new_optimizer(self) -> Optimizer | None:
        module = self.new_module(WITH_PARAMETERS) if self.chance(0.5) else self.some_module()
        if module is None or module.layer not in WITH_PARAMETERS or self.fixed:
            return None
        # LBFGS multiplies roundings: what is left of float32 says nothing.
        known = [o for o in OPTIMIZERS if module.dtype == F64 or "LBFGS" not in o]
        name, text = self.name("o"), self.pick(known)
        self.emit(f"{name} = torch.optim.{text.format(p=module.name + '.parameters()')}")
        self.optimizers[name] = Optimizer(name, module, text)
        return self.optimizers[name]

    def some_optimizer(self) -> Optimizer | None:
        names = list(self.optimizers)
        return self.optimizers[self.pick(names)] if names else self.new_optimizer()

    def train(self) -> None:
        """Some steps of training, in one of the usual shapes."""
        optimizer = self.some_optimizer()
        if optimizer is None or not self.recording or self.fixed:
            return
        module = optimizer.module
        x = self.tensor_of(module.layer.takes, module.dtype, module.layer.kinked, top=2)
        if x.needs and not x.track.leaf:
            x = x.view(f"{x.text}.detach()", x.array)
        loss = self.pick(LOSSES)
        if not module.layer.gives and "logsumexp" in loss:
            loss = LOSSES[0]
        called = f"({module.call(x)})" if " for " in module.call(x) else module.call(x)
        how = {
            "o": optimizer.name,
            "n": self.choose.randrange(1, 5),
            "loss": loss.format(y=called),
            "how": self.pick(["", "", "set_to_none=False"]),
            "clip": self.pick(CLIPS).format(m=module.name),
        }
        steps = STEPS[-1:] if "LBFGS" in optimizer.text else STEPS
        for statement in self.pick(steps):
            self.emit(statement.format(**how))
        module.counter.value += 1

    def single_step(self) -> None:
        optimizer = self.some_optimizer()
        if optimizer is not None:
            self.emit(f"{optimizer.name}.{self.pick(['step()', 'zero_grad()'])}")
            optimizer.module.counter.value += 1

    def schedule(self) -> None:
        """A new scheduler, or a step of one."""
        if self.schedulers and self.chance(0.7):
            name = self.pick(list(self.schedulers))
            self.emit(f"{name}.step()")
            self.emit(f"out.append({name}.get_last_lr())")
            return
        optimizer = self.some_optimizer()
        if optimizer is not None and not self.fixed:
            name = self.name("s")
            text = self.pick(SCHEDULERS).format(o=optimizer.name)
            self.emit(f"{name} = torch.optim.lr_scheduler.{text}")
            self.schedulers[name] = optimizer

    def read_optimizer(self) -> None:
        optimizer = self.some_optimizer()
        if optimizer is None:
            return
        o = optimizer.name
        self.emit(
            self.pick(
                [
                    f"out.append({o}.param_groups[0]['lr'])",
                    f"out.append(repr({o}))",
                    f"out.append({o}.state_dict())",
                    f"out.append(sorted({o}.state_dict()['state']))",
                ]
            )
        )

    def restore_optimizer(self) -> None:
        """load_state_dict of an optimizer from another of its kind, a copy or a file."""
        optimizer = self.some_optimizer()
        if optimizer is None:
            return
        o = optimizer.name
        self.emit(
            self.pick(
                [
                    f"{o}.load_state_dict(copy.deepcopy({o}.state_dict()))",
                    f"{o}.load_state_dict(torch.load(saved({o}.state_dict())))",
                    f"{o}.param_groups[0]['lr'] *= 0.5",
                    f"{o}.add_param_group({{'params': [torch.ones(2, requires_grad=True)]}})",
                ]
            )
        )


def has_parameters(text: str) -> bool:
    """Whether a module's text makes a layer with weights that a loss reaches."""
    kinds = (
        "Linear",
        "Conv",
        "LSTM",
        "GRU",
        "RNN",
        "Norm",
        "Residual",
        "Tied",
        "Listed",
        "Attention",
    )
    return any(kind in text for kind in kinds) and "affine=False" not in text


WITH_PARAMETERS = [layer for layer in MODULES if has_parameters(layer.text)]
