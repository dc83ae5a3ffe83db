"""What a picture shows, figures and what they wear: a function of (seed, index)."""

from dataclasses import dataclass

import numpy as np

# Pictures are planned in blocks of 20: one without a garment, three with two figures.
PLAN: tuple[int, ...] = (0, 2, 2, 2, *([1] * 16))
BLOCK = len(PLAN)


@dataclass(frozen=True)
class Outfit:
    """What one figure wears. top: shirt or dress. bottom: trousers, skirt, or '' below a dress.

    sleeves of the top: '', 'short' or 'long'. tucked: the shirt ends below the belt line.
    """

    top: str
    bottom: str
    jacket: bool
    collar: bool
    sleeves: str
    tucked: bool
    belt: bool
    bag: str


def figures_of(seed: int, index: int) -> int:
    """Number of figures in picture `index` of set `seed`; the pictures of a block come in shuffled order."""
    block, offset = divmod(index, BLOCK)
    # The third key keeps this stream apart from those of pictures and of steel sheets.
    return PLAN[np.random.default_rng([seed, block, 3]).permutation(BLOCK)[offset]]


def make_outfit(rng: np.random.Generator) -> Outfit:
    """Draw an outfit: six in ten with trousers, a fifth a dress, a third a jacket, …"""
    top = "dress" if rng.random() < 0.26 else "shirt"
    bottom = "" if top == "dress" else str(rng.choice(["trousers", "skirt"], p=[0.62, 0.38]))
    return Outfit(
        top=top,
        bottom=bottom,
        jacket=bool(rng.random() < (0.22 if top == "dress" else 0.42)),
        collar=bool(rng.random() < 0.6),
        sleeves=str(rng.choice(["", "short", "long"], p=[0.16, 0.37, 0.47])),
        tucked=bool(rng.random() < 0.6),
        belt=bool(rng.random() < 0.65),
        bag=str(rng.choice(["", "hand", "shoulder"], p=[0.52, 0.28, 0.2])),
    )
