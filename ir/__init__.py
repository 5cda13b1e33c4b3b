"""The intermediate representation: nodes, primitives, differentiation and passes.

Knows no device and no Tensor; imports nothing of lazyt but itself.
"""
