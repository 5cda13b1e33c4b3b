"""Modules of torch.nn: made, called, put in other states, hooked, and saved and loaded.

Layer("nn.Linear(4, 3)", (2, 4), (2, 3))
# m2 = nn.Linear(4, 3).to(torch.float64)
# x3 = m2(x1)
# m2.load_state_dict(m4.state_dict())
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Statement
from .examples import Shape
from .functional import Functional
from .model import Counter, Step, Var


@dataclass(frozen=True)
class Layer:
    """A module: how it is made and called, and the shapes of its input and of its result."""

    text: str
    takes: Shape
    gives: Shape
    kinked: bool = False  # exact operands only
    call: str = "{m}({x})"


@dataclass(eq=False)
class Module:
    """A module of the program."""

    name: str
    layer: Layer
    dtype: str
    counter: Counter  # moves with every write to its parameters
    differentiable: bool = True

    def call(self, x: Var) -> str:
        return self.layer.call.format(m=self.name, x=x.text)


MODULES = [
    Layer("nn.Identity()", (2, 4), (2, 4)),
    Layer("nn.Linear(4, 3)", (2, 4), (2, 3)),
    Layer("nn.Linear(4, 3, bias=False)", (2, 3, 4), (2, 3, 3)),
    Layer("nn.Bilinear(4, 4, 2)", (2, 4), (2, 2), call="{m}({x}, {x})"),
    Layer("nn.Embedding(3, 4)", (3, 4), (2, 2, 4), call="{m}(torch.tensor([[0, 2], [1, 1]]))"),
    Layer("nn.Embedding(3, 4, padding_idx=1)", (3, 4), (2, 4), call="{m}(torch.tensor([1, 2]))"),
    Layer(
        "nn.EmbeddingBag(3, 4, mode='mean')",
        (3, 4),
        (2, 4),
        call="{m}(torch.tensor([[0, 2], [1, 1]]))",
    ),
    Layer("nn.Conv1d(3, 2, 2)", (2, 3, 6), (2, 2, 5)),
    Layer("nn.Conv1d(3, 3, 3, padding=1, padding_mode='circular', groups=3)", (2, 3, 6), (2, 3, 6)),
    Layer("nn.Conv2d(3, 2, 3, stride=2)", (1, 3, 6, 6), (1, 2, 2, 2)),
    Layer("nn.Conv2d(3, 4, 3, padding='same', bias=False)", (1, 3, 6, 6), (1, 4, 6, 6)),
    Layer("nn.Conv3d(2, 1, 2)", (1, 2, 4, 4, 4), (1, 1, 3, 3, 3)),
    Layer("nn.ConvTranspose1d(3, 2, 2, stride=2)", (2, 3, 6), (2, 2, 12)),
    Layer("nn.ConvTranspose2d(3, 1, 3, 2, 1, 1)", (1, 3, 6, 6), (1, 1, 12, 12)),
    Layer("nn.ConvTranspose3d(2, 1, 2)", (1, 2, 4, 4, 4), (1, 1, 5, 5, 5)),
    Layer("nn.MaxPool1d(2)", (2, 3, 6), (2, 3, 3), kinked=True),
    Layer("nn.MaxPool2d(3, 2, 1)", (1, 3, 6, 6), (1, 3, 3, 3), kinked=True),
    Layer("nn.AvgPool2d(2)", (1, 3, 6, 6), (1, 3, 3, 3)),
    Layer("nn.AdaptiveAvgPool2d(1)", (1, 3, 6, 6), (1, 3, 1, 1)),
    Layer("nn.AdaptiveMaxPool2d((2, 3))", (1, 3, 6, 6), (1, 3, 2, 3), kinked=True),
    Layer("nn.BatchNorm1d(4)", (2, 4), (2, 4)),
    Layer("nn.BatchNorm1d(3, momentum=None)", (2, 3, 6), (2, 3, 6)),
    Layer("nn.BatchNorm2d(3, affine=False)", (1, 3, 6, 6), (1, 3, 6, 6)),
    Layer("nn.BatchNorm3d(2, track_running_stats=False)", (1, 2, 4, 4, 4), (1, 2, 4, 4, 4)),
    Layer("nn.LayerNorm(4)", (2, 3, 4), (2, 3, 4)),
    Layer("nn.LayerNorm((3, 4), elementwise_affine=False)", (2, 3, 4), (2, 3, 4)),
    Layer("nn.GroupNorm(2, 4)", (1, 4, 2, 2), (1, 4, 2, 2)),
    Layer("nn.InstanceNorm1d(3, affine=True)", (2, 3, 6), (2, 3, 6)),
    Layer("nn.InstanceNorm2d(3, track_running_stats=True)", (1, 3, 6, 6), (1, 3, 6, 6)),
    Layer("nn.RMSNorm(4)", (2, 3, 4), (2, 3, 4)),
    Layer("nn.Dropout(0.5)", (2, 4), (2, 4)),
    Layer("nn.Dropout2d(0.25)", (1, 3, 6, 6), (1, 3, 6, 6)),
    Layer("nn.RNN(4, 3)", (2, 3, 4), (2, 3, 3), call="{m}({x})[0]"),
    Layer(
        "nn.RNN(4, 3, nonlinearity='relu', batch_first=True)",
        (2, 3, 4),
        (1, 2, 3),
        kinked=True,
        call="{m}({x})[1]",
    ),
    Layer("nn.LSTM(4, 3)", (2, 3, 4), (2, 3, 3), call="{m}({x})[0]"),
    Layer(
        "nn.LSTM(4, 2, num_layers=2, bidirectional=True, batch_first=True)",
        (2, 3, 4),
        (4, 2, 2),
        call="{m}({x})[1][0]",
    ),
    Layer("nn.LSTM(4, 3, proj_size=2)", (2, 3, 4), (2, 3, 2), call="{m}({x})[0]"),
    Layer("nn.GRU(4, 3, bidirectional=True)", (2, 3, 4), (2, 3, 6), call="{m}({x})[0]"),
    Layer("nn.GRU(4, 3, num_layers=2, dropout=0.5)", (2, 3, 4), (2, 3, 3), call="{m}({x})[1]"),
    Layer("nn.RNNCell(4, 3)", (2, 4), (2, 3)),
    Layer("nn.LSTMCell(4, 3)", (2, 4), (2, 3), call="{m}({x})[1]"),
    Layer("nn.GRUCell(4, 3)", (2, 4), (2, 3), call="{m}({x}, {m}({x}))"),
    Layer("nn.MultiheadAttention(4, 2)", (2, 3, 4), (2, 3, 4), call="{m}({x}, {x}, {x})[0]"),
    Layer(
        "nn.MultiheadAttention(4, 2, batch_first=True)",
        (2, 3, 4),
        (2, 3, 4),
        call="{m}({x}, {x}, {x}, need_weights=False)[0]",
    ),
    Layer("nn.TransformerEncoderLayer(4, 2, 8)", (2, 3, 4), (2, 3, 4)),
    Layer(
        "nn.TransformerEncoderLayer(4, 2, 8, 0.0, 'gelu', batch_first=True, norm_first=True)",
        (2, 3, 4),
        (2, 3, 4),
    ),
    Layer(
        "nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0)",
        (2, 3, 4),
        (2, 3, 4),
        call="{m}({x}, {x})",
    ),
    Layer("nn.PReLU()", (2, 4), (2, 4), kinked=True),
    Layer("nn.ReLU()", (2, 4), (2, 4), kinked=True),
    Layer("nn.ReLU(inplace=True)", (2, 4), (2, 4), kinked=True, call="{m}({x} * 1)"),
    Layer("nn.LeakyReLU(0.2)", (2, 4), (2, 4), kinked=True),
    Layer("nn.Sigmoid()", (2, 4), (2, 4)),
    Layer("nn.GELU()", (2, 4), (2, 4)),
    Layer("nn.Softplus()", (2, 4), (2, 4)),
    Layer("nn.Tanh()", (2, 3, 4), (2, 3, 4)),
    Layer("nn.Softmax(dim=-1)", (2, 3, 4), (2, 3, 4)),
    Layer("nn.LogSoftmax(dim=1)", (2, 4), (2, 4)),
    Layer("nn.GLU()", (2, 4), (2, 2)),
    Layer("nn.Flatten()", (2, 3, 4), (2, 12)),
    Layer("nn.Unflatten(1, (2, 2))", (2, 4), (2, 2, 2)),
    Layer("nn.ZeroPad2d(1)", (1, 3, 6, 6), (1, 3, 8, 8)),
    Layer("nn.ReflectionPad1d(2)", (2, 3, 6), (2, 3, 10)),
    Layer("nn.ConstantPad1d((1, 0), 0.5)", (2, 3, 6), (2, 3, 7)),
    Layer("nn.ReplicationPad2d((1, 0, 0, 1))", (1, 3, 6, 6), (1, 3, 7, 7)),
    Layer("nn.CircularPad1d(1)", (2, 3, 6), (2, 3, 8)),
    Layer("nn.Upsample(scale_factor=2)", (1, 3, 6, 6), (1, 3, 12, 12)),
    Layer("nn.Upsample(size=4, mode='bilinear')", (1, 3, 6, 6), (1, 3, 4, 4)),
    Layer("nn.PixelShuffle(2)", (1, 4, 2, 2), (1, 1, 4, 4)),
    Layer("nn.Unfold(2)", (1, 3, 6, 6), (1, 12, 25)),
    Layer("nn.CosineSimilarity()", (2, 4), (2,), call="{m}({x} + 0.125, {x} * {x} + 1)"),
    Layer("nn.MSELoss()", (2, 4), (), call="{m}({x}, {x} * 0.5)"),
    Layer(
        "nn.CrossEntropyLoss(label_smoothing=0.1)",
        (2, 4),
        (),
        call="{m}({x}, torch.tensor([3, 0]))",
    ),
    Layer("nn.L1Loss()", (2, 4), (), kinked=True, call="{m}({x}, {x} * 0.5)"),
    Layer("nn.BCELoss()", (2, 4), (), call="{m}(torch.sigmoid({x}), torch.sigmoid(-{x}))"),
    Layer("nn.NLLLoss()", (2, 4), (), call="{m}(F.log_softmax({x}, 1), torch.tensor([3, 0]))"),
    Layer("nn.SmoothL1Loss()", (2, 4), (), kinked=True, call="{m}({x}, {x} * 0.5)"),
    Layer("nn.BCEWithLogitsLoss()", (2, 4), (), call="{m}({x}, torch.sigmoid({x}))"),
    Layer("nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4))", (2, 4), (2, 4)),
    Layer(
        "nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.SiLU(), nn.AvgPool2d(2))",
        (1, 3, 6, 6),
        (1, 2, 2, 2),
    ),
    Layer(
        "nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])",
        (2, 4),
        (2, 3),
        call="sum(m({x}) for m in {m})",
    ),
    Layer(
        "nn.ModuleDict({'a': nn.Linear(4, 3), 'b': nn.Tanh()})",
        (2, 4),
        (2, 3),
        call="{m}['b']({m}['a']({x}))",
    ),
    Layer("Residual(4)", (2, 4), (2, 4)),
    Layer("Tied(4)", (2, 4), (2, 4)),
    Layer("Listed(4)", (2, 4), (2, 4)),
]
# Classes of a user's; programs define them before they use one.
CLASSES = {
    "Residual": """class Residual(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.inner = nn.Linear(n, n)
        self.scale = nn.Parameter(torch.full((n,), 0.5))
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, x):
        self.calls += 1
        return x + self.inner(x) * self.scale""",
    "Tied": """class Tied(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.one = nn.Linear(n, n)
        self.two = nn.Linear(n, n, bias=False)
        self.two.weight = self.one.weight
    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))""",
}
CLASSES["Listed"] = """class Listed(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.full((n,), 0.5)) for _ in range(2)])
    def forward(self, x):
        for scale in self.scales:
            x = torch.sin(x * scale)
        return x"""
# What is done to a module {m} without changing a parameter; {n} is another of its kind.
STATES = [
    "{m}.eval()",
    "{m}.train()",
    "{m}.zero_grad()",
    "{m}.zero_grad(set_to_none=False)",
    "{m}.requires_grad_(False)",
    "{m}.requires_grad_()",
    "{m}.register_forward_hook(lambda m, i, o: out.append(type(m).__name__))",
    "{m}.register_forward_pre_hook(lambda m, i: out.append(i[0].shape))",
    "{m}.register_full_backward_hook(lambda m, i, o: out.append(o[0].sum().item()))",
    "{m}.register_forward_hook(lambda m, i, o: o * 2 if torch.is_tensor(o) else None)",
    "{m}.double()",
]
READS = [
    "out.append(list({m}.state_dict()))",
    "out.append([(k, p.shape, p.requires_grad) for k, p in {m}.named_parameters()])",
    "out.append([(k, b.sum().item()) for k, b in {m}.named_buffers()])",
    "out.append([k for k, _ in {m}.named_modules()])",
    "out.append([type(m).__name__ for m in {m}.modules()])",
    "out.append(repr({m}))",
    "out.append(sum(p.numel() for p in {m}.parameters()))",
    "out.append([p.grad is None for p in {m}.parameters()])",
    "out.append({m}.training)",
    "out.append(nn.utils.parameters_to_vector([*{m}.parameters(), torch.ones(1)]).sum().item())",
]
# What writes to the parameters, as programs do that initialise, clip or average.
PARAMETER_WRITES = [
    "for p in {m}.parameters():\n    nn.init.constant_(p, 0.25)",
    "for p in {m}.parameters():\n    nn.init.uniform_(p, -0.5, 0.5)",
    "for p in {m}.parameters():\n    if p.dim() == 1:\n        nn.init.zeros_(p)",
    "for p in {m}.parameters():\n    if p.dim() > 1:\n        nn.init.xavier_uniform_(p)",
    "for p in {m}.parameters():\n    if p.dim() > 1:\n        nn.init.kaiming_normal_(p)",
    "for p in {m}.parameters():\n    if p.dim() == 2:\n        nn.init.orthogonal_(p)",
    "with torch.no_grad():\n    for p in {m}.parameters():\n        p.mul_(0.5)",
    "with torch.no_grad():\n    for p in {m}.parameters():\n        p -= 0.25 * p",
    "for p in {m}.parameters():\n    p.data.clamp_(-0.5, 0.5)",
    "for p, q in zip({m}.parameters(), {n}.parameters()):\n    p.data.lerp_(q.data, 0.5)",
    "{m}.load_state_dict({n}.state_dict())",
    "{m}.load_state_dict({{k: v * 0.5 for k, v in {n}.state_dict().items()}})",
    "v = nn.utils.parameters_to_vector({n}.parameters())\n"
    "nn.utils.vector_to_parameters(v, {m}.parameters())\ndel v",
]
GRADIENT_WRITES = [
    "out.append(nn.utils.clip_grad_norm_({m}.parameters(), 0.5).item())",
    "nn.utils.clip_grad_value_({m}.parameters(), 0.25)",
    "out.append(nn.utils.clip_grad_norm_({m}.parameters(), 1.0, norm_type=float('inf')).item())",
    "for p in {m}.parameters():\n    if p.grad is not None:\n        p.grad.mul_(0.5)",
]
COPIES = [
    "copy.deepcopy({m})",
    "torch.load(saved({m}), weights_only=False)",
]
ROUND_TRIP = "{m}.load_state_dict(torch.load(saved({n}.state_dict())))"


class Modules(Functional):
    """Adds modules."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.modules: dict[str, Module] = {}
        self.classes: set[str] = set()

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("modules", 6, self.new_module),
            ("modules", 14, self.call_module),
            ("modules", 4, self.put_in_state),
            ("modules", 3, self.read_module),
            ("modules", 4, self.write_parameters),
            ("modules", 2, self.copy_module),
            ("modules", 2, self.reparametrize),
        ]

    def new_module(self, rows: list[Layer] = MODULES) -> Module | None:
        if self.fixed:
            return None
        layer, dtype, name = self.pick(rows), self.value_type(), self.name("m")
        kind = layer.text.partition("(")[0]
        if kind in CLASSES and kind not in self.classes:
            self.classes.add(kind)
            self.emit(CLASSES[kind])
        self.emit(f"{name} = {layer.text}.to(torch.{dtype})")
        self.modules[name] = Module(name, layer, dtype, Counter())
        return self.modules[name]

    def some_module(self) -> Module | None:
        names = list(self.modules)
        return self.modules[self.pick(names)] if names else self.new_module()

    def call_module(self) -> None:
        module = self.some_module()
        if module is None or self.fixed:
            return
        layer = module.layer
        x = self.tensor_of(layer.takes, module.dtype, layer.kinked)
        made = self.called_module(module, x)
        if made is not None:
            self.bind(made)

    def called_module(self, module: Module, x: Var) -> Var:
        """The result of calling a module, with what its backward will need."""
        text, shape = module.call(x), module.layer.gives
        made = self.result(text, shape, module.dtype, 5, 1000, (x,), (x,), True)
        self.mix((x,))
        made.loose = len(shape) > 1
        step = Step([(module.counter, module.counter.value)])
        if self.recording and module.differentiable:
            made.track.needs, made.track.leaf = True, False
            made.track.history = {step, *x.track.history}
        return made

    def another(self, module: Module) -> str:
        """A module of the same kind, or itself."""
        same = [m.name for m in self.modules.values() if m.layer is module.layer]
        return self.pick(same)

    def statement_of(self, rows: list[str]) -> Module | None:
        module = self.some_module()
        if module is None:
            return None
        self.emit(self.pick(rows).format(m=module.name, n=self.another(module)))
        return module

    def put_in_state(self) -> None:
        if not self.fixed:
            self.statement_of(STATES)

    def read_module(self) -> None:
        self.statement_of(READS)

    def write_parameters(self) -> None:
        module = self.statement_of([*PARAMETER_WRITES, *GRADIENT_WRITES, ROUND_TRIP])
        if module is not None:
            module.counter.value += 1

    def copy_module(self) -> None:
        module = self.some_module()
        if module is None or self.fixed:
            return
        name = self.name("m")
        ours = module.layer.text.partition("(")[0] not in CLASSES
        self.emit(f"{name} = {self.pick(COPIES if ours else COPIES[:1]).format(m=module.name)}")
        self.modules[name] = Module(name, module.layer, module.dtype, Counter())

    def reparametrize(self) -> None:
        """weight_norm and parametrizations, put on and taken off."""
        module = self.some_module()
        if module is None or self.fixed or "Linear(4, 3" not in module.layer.text[:14]:
            return
        m = module.name
        text = self.pick(
            [
                f"nn.utils.parametrizations.weight_norm({m})",
                f"nn.utils.weight_norm({m})",
                f"nn.utils.parametrizations.spectral_norm({m})",
                f"nn.utils.parametrize.register_parametrization({m}, 'weight', nn.Tanh())",
                f"nn.utils.parametrize.remove_parametrizations({m}, 'weight')",
                f"nn.utils.remove_weight_norm({m})",
            ]
        )
        self.emit(text)
        module.counter.value += 1
