"""NumPy forms of the primitives that are more than one ufunc call: arrays in, arrays out.

Generated NumPy code and the reference evaluator call these functions. They know neither nodes nor
tensors; shapes and dtypes have been checked by whoever made the node. Most take ``out=``, an array
of the result's shape and dtype to write into. None of them silences NumPy's floating-point
warnings: the caller runs a whole plan under one ``np.errstate(all="ignore")``.
"""

from .elementwise import bfloat16_bits, bfloat16_of_bits, round_bfloat16

__all__ = ["bfloat16_bits", "bfloat16_of_bits", "round_bfloat16"]
