"""What goes into the step of `large_logits.json`; numpy alone, since its generator runs without Paddle."""

from pathlib import Path

import numpy as np
from recipe import image

SCALE = 1.5  # of the classifiers: logits of up to a hundred
SIZE = (256, 320)
# Of the added object's edges, in sides of the first one: a box is its best that overlaps the first one more, and no decision of
# the step is a near one.
SHIFT = np.array([-0.08, 0.02, -0.12, -0.01], np.float32)
_TRAIN = Path(__file__).parents[1] / "modeling" / "golden" / "tiny_a_train.npz"


def inputs() -> dict:
    """One image of the tiny models' step, with labels of 80 and 183 classes and an object that overlaps the first one.

    image (1, 3, h, w); sizes; semantic (1, h, w) uint8; by image boxes (n, 4), labels (n,), bitmaps (n, h, w), proposals
    (m, 4).
    """
    arrays = dict(np.load(_TRAIN))
    boxes, bitmaps = arrays["gt_boxes0"], np.unpackbits(arrays["gt_masks_packed0"], axis=-1)[:, :, : SIZE[1]]
    twin = boxes[:1] + SHIFT * (boxes[:1, [2, 3, 2, 3]] - boxes[:1, [0, 1, 0, 1]])
    moved = np.roll(bitmaps[:1], -6, axis=2)
    semantic = arrays["seg0"].astype(np.int64)
    return {
        "image": image(8, *SIZE),
        "sizes": [SIZE],
        "semantic": np.where(semantic == 255, 255, 37 * semantic).astype(np.uint8)[None],
        "boxes": [np.concatenate([boxes, twin]).astype(np.float32)],
        "labels": [np.append(arrays["gt_labels0"] * 19 + 3, 50)],
        "bitmaps": [np.concatenate([bitmaps, moved])],
        "proposals": [arrays["proposals0"]],
    }
