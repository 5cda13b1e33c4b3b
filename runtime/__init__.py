"""Runs what codegen wrote: drains, plans, their cache. Knows no Tensor."""
