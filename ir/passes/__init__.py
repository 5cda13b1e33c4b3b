"""Passes: one small named function over a graph in each module; `pipeline` orders them."""
