"""Whose frames are the library's own: an operation's origin is the first frame outside of them."""

from __future__ import annotations

import os

import lazyt.codegen
import lazyt.runtime
from lazyt.ir.node import mark_internal

# lazyt.ir marks itself. The three stand in one folder only where they are installed as a wheel.
for _file in (__file__, lazyt.codegen.__file__, lazyt.runtime.__file__):
    mark_internal(os.path.dirname(os.path.abspath(_file or "")))
