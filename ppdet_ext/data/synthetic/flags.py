"""Flags of the generator of sample sets, and the defaults of its kinds; light, for --help is to answer at once."""

import argparse
from typing import NamedTuple


class Defaults(NamedTuple):
    """Of a kind: number of pictures, their size in pixels."""

    images: int
    height: int
    width: int


DEFAULTS = {"steel": Defaults(96, 256, 1600), "fashion": Defaults(160, 256, 192)}
KIND, SEED, QUALITY = "steel", 0, 90


def make_parser(prog: str = "python -m ppdet_ext.data.synthetic") -> argparse.ArgumentParser:
    """The flags; defaults are those of `SampleSpec`."""

    def per_kind(key: str) -> str:
        return ", ".join(f"{name}: {getattr(values, key)}" for name, values in DEFAULTS.items())

    parser = argparse.ArgumentParser(prog=prog, description="Make a set of sample pictures.")
    parser.add_argument("--kind", default=KIND, help=f"what to draw: {', '.join(DEFAULTS)} (%(default)s)")
    parser.add_argument("--out", required=True, help="folder to make, e.g. dataset/steel_sample")
    parser.add_argument("--images", type=int, help=f"pictures ({per_kind('images')}), a quarter held out")
    parser.add_argument("--seed", type=int, default=SEED, help="same seed, same pictures (%(default)s)")
    parser.add_argument("--height", type=int, help=f"height ({per_kind('height')}); fashion pictures vary around it")
    parser.add_argument("--width", type=int, help=f"width ({per_kind('width')}); fashion pictures vary around it")
    parser.add_argument("--quality", type=int, default=QUALITY, help="JPEG quality (%(default)s)")
    return parser
