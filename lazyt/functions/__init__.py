"""The functions of the tensor library, a family in each module.

Importing a module adds its functions to `registry.FUNCTIONS` and attaches its methods to Tensor.
"""

from lazyt.functions import (  # noqa: F401
    arithmetic,  # add, mul, eq, ...
    assignment,  # x[key] = value, index_put_
    complexes,  # complex, polar, real, imag, conj, angle, view_as_real
    compositions,  # where, clamp, lerp, fill_, masked_fill, isclose
    creation,  # tensor, as_tensor, zeros, ones, full, from_numpy
    decompositions,  # solve, det, svd, qr, eigh, lstsq, matrix_exp
    draws,  # rand, randn, randint, randperm, multinomial, bernoulli, normal_
    extremes,  # max, min, argmax, amax, aminmax
    gathering,  # gather, index_select, take
    indexing,  # x[key]
    joining,  # cat, stack, meshgrid, cartesian_prod
    masks,  # masked_select, masked_scatter, nonzero
    memory,  # untyped_storage, storage, resize_
    operators,  # x + y, 2 * x, x += y, x < y, -x
    order_statistics,  # median, quantile, mode, histc
    padding,  # nn.functional.pad
    parts,  # narrow, select, split, chunk, diagonal, unfold, as_strided
    per_element,  # apply_, map_
    pointwise,  # exp, sin, sqrt, ...
    product_sums,  # addmm, addmv, baddbmm, addbmm
    ranges,  # arange, linspace, logspace, eye
    rearranging,  # flip, roll, tril, repeat, diff
    reductions,  # sum, mean, prod, var, norm, all
    replacing,  # select_scatter, slice_scatter, diagonal_scatter
    scans,  # cumsum, cumprod, cummax, logcumsumexp
    scattering,  # scatter, index_add, index_put, put
    sorting,  # sort, topk, unique, searchsorted
    views,  # view, transpose, unsqueeze, expand, ...
)
