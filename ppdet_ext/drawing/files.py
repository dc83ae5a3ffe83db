"""Files of drawn pictures."""

from pathlib import Path

import cv2
import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic

SUFFIXES = (".jpg", ".jpeg", ".png")


def drawn_name(name: Path) -> Path:
    """The name of an image's picture: what is no JPEG or PNG is drawn as a PNG, beside which there may be one of its name."""
    return name if name.suffix.lower() in SUFFIXES else name.with_name(f"{name.name}.png")


def write_picture(path: Path, picture: np.ndarray, flag: str = "--output_dir") -> None:
    """Write (h, w, 3) uint8 RGB, as the suffix says.

    Raises: UserError where it cannot be encoded, or the folder, which `flag` names, cannot be written.
    """
    done, data = cv2.imencode(path.suffix.lower(), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise UserError(f"The picture of {path.name} cannot be encoded as {path.suffix}.")
    write_atomic(path, lambda aside: aside.write_bytes(data.tobytes()), flag, durable=False)
