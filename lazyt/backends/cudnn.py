"""torch.backends.cudnn: settings that can be made and change nothing without a GPU."""

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN is there."""
    return False


def version() -> None:
    """Its version: None, for it is not there."""
