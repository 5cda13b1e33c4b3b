"""torch.backends: switches of libraries that scripts set before they train.

    torch.backends.cuda.matmul.allow_tf32 = True      # products of float32 by matrix units

How exactly devices compute is what has an effect here (runtime/precision.py); the libraries are not
used.
"""

from lazyt.backends import cuda as cuda
from lazyt.backends import cudnn as cudnn
from lazyt.backends import mha as mha
from lazyt.backends import mps as mps
