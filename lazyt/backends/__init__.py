"""torch.backends: switches of libraries that scripts set before they train; none is used here."""

from lazyt.backends import cudnn as cudnn
from lazyt.backends import mps as mps
