"""What a program needs of PyTorch, read off its text.

    import torch.nn as nn                   nn stands for torch.nn
    loss = nn.CTCLoss()                     needs torch.nn.CTCLoss, line 2
    x.cholesky()                            needs Tensor.cholesky, if x is a tensor

Names are followed through imports, aliases and assignments of modules; the program is not run.
Methods of values are looked up among those of PyTorch's tensors, modules and optimizers, unless the
program or Python itself has an attribute of that name.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from .names import ABSENT, State, found, known, owners, state_of

# Packages beside PyTorch that programs import: they are no part of it, and not here.
_COMPANIONS = """
accelerate apex bitsandbytes datasets deepspeed diffusers fairscale fastai huggingface_hub ignite
kornia lightning peft pytorch_lightning sentence_transformers tensordict timm tokenizers
torch_geometric torch_scatter torch_sparse torch_xla torchaudio torchdata torchinfo torchmetrics
torchrl torchsummary torchtext torchtune torchvision transformers triton xformers
"""
COMPANIONS = frozenset(_COMPANIONS.split())
# What the values of a program most often are, and where its methods are looked up.
RECEIVERS = (
    "torch.Tensor",
    "torch.nn.Module",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "torch.utils.data.DataLoader",
    "torch.autograd.function.FunctionCtx",
)
_PYTHON = frozenset(
    name
    for kind in (list, dict, set, str, bytes, tuple, int, float, complex, range, slice)
    for name in dir(kind)
) | {"name"}  # which nearly everything has


@dataclass
class Need:
    """A name that a program needs: where, and what it is here.

    kind: "name", "method", or "package" for one that is beside PyTorch.
    """

    name: str
    kind: str
    state: State
    lines: list[int] = field(default_factory=list)


def needs_of(text: str, filename: str = "<program>") -> list[Need]:
    """Everything a program needs, in the order in which it is first named.

    Errors: SyntaxError for what is no Python.
    """
    reader = _Reader()
    reader.visit(ast.parse(text, filename))
    return list(reader.needs.values())


class _Reader(ast.NodeVisitor):
    """Walks a program once, keeping what its names stand for."""

    def __init__(self) -> None:
        self.needs: dict[str, Need] = {}
        self.meaning: dict[str, str] = {}  # a name of the program -> a name of PyTorch
        self.foreign: set[str] = set()  # modules that are not PyTorch's
        self.own: set[str] = set()  # attributes that the program itself defines

    def visit_Module(self, node: ast.Module) -> None:
        for n in ast.walk(node):
            if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.own.add(n.name)
            elif isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store):
                self.own.add(n.attr)
            elif isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name):
                self.own.add(n.target.id)
        self.generic_visit(node)

    # --- imports and aliases ----------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            head = alias.name.partition(".")[0]
            if head != "torch":
                self._foreign(head, alias.asname or head, node.lineno)
                continue
            self._name(alias.name, node.lineno)
            self.meaning[alias.asname or "torch"] = alias.name if alias.asname else "torch"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or module.partition(".")[0] != "torch":
            if not node.level:
                self._foreign(module.partition(".")[0], "", node.lineno)
            self.foreign.update(a.asname or a.name for a in node.names)
            return
        self._name(module, node.lineno)
        for alias in node.names:
            if alias.name == "*":
                self.meaning |= {n: f"{module}.{n}" for n in owners().get(module, ())}
                continue
            path = f"{module}.{alias.name}"
            self._name(path, node.lineno)
            self.meaning[alias.asname or alias.name] = path

    def _foreign(self, package: str, name: str, line: int) -> None:
        if name:
            self.foreign.add(name)
        if package in COMPANIONS:
            self._need(package, "package", State("missing", "a package of its own"), line)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        path = self._path(node.value)
        for target in node.targets:
            if not isinstance(target, ast.Name):
                continue
            if path is not None:
                self.meaning[target.id] = path
            else:
                self.meaning.pop(target.id, None)

    # --- names and methods ------------------------------------------------------------------------

    def _path(self, node: ast.AST) -> str | None:
        """The name of PyTorch that a name or a chain of attributes stands for."""
        if isinstance(node, ast.Name):
            return self.meaning.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self._path(node.value)
            return None if before is None else f"{before}.{node.attr}"
        return None

    def visit_Name(self, node: ast.Name) -> None:
        path = self.meaning.get(node.id)
        if path is not None and path != "torch" and isinstance(node.ctx, ast.Load):
            self._name(path, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self._path(node)
        if path is not None:
            self._name(path, node.lineno)
            return
        self.generic_visit(node)
        root: ast.AST = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in self.foreign:
            return
        name = node.attr
        if name in self.own or name in _PYTHON or not isinstance(node.ctx, ast.Load):
            return
        holders = [owner for owner in RECEIVERS if name in owners()[owner]]
        if not holders:
            return
        states = [state_of(f"{owner}.{name}") for owner in holders]
        best = min(states, key=lambda s: ("works", "differs", "missing").index(s.word))
        owner = holders[states.index(best)].rpartition(".")[2]
        self._need(f"{owner}.{name}", "method", best, node.lineno)

    def _name(self, path: str, line: int) -> None:
        """A name in full: what is needed is the last of it that PyTorch has recorded."""
        parts, needed = path.split("."), None
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if found(part) is ABSENT:
                if known(part) or ".".join(parts[: end - 1]) in owners():
                    how = "" if known(part) else "PyTorch lacks it, too"
                    self._need(part, "name", State("missing", how), line)
                return
            needed = part if end > 1 and known(part) else needed
        if needed is not None:
            self._need(needed, "name", state_of(needed), line)

    def _need(self, name: str, kind: str, state: State, line: int) -> None:
        need = self.needs.setdefault(name, Need(name, kind, state))
        if line not in need.lines:
            need.lines.append(line)
