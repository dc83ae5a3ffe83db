"""Writes data/smp_shapes.json.gz and data/timm_shapes.json.gz; run by hand where SMP, timm and torch are:

python tests/weights/foreign/make_smp_shapes.py FOLDER

FOLDER has `keys/state_dict_keys_<what>.txt`, lines of name, shape (`256x768x3x3`, `scalar`), and more; networks leave out their
encoder, whose tensors are in `encoder_<name>`. `legacy.npz` beside has logits of SMP 0.0.3 and 0.2.1 at sampled places.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
TIMM = ("resnet34", "resnext50_32x4d", "tf_efficientnet_b0", "efficientnet_b3", "seresnext50_32x4d", "legacy_seresnext50_32x4d")
KEPT = [f"smp003/{what}-resnet18" for what in ("Unet", "FPN", "PSPNet", "Linknet")] + ["smp021/Unet-efficientnet-b1"]


def _write(name: str, content: dict) -> None:
    # Without the time, so that the same content is the same file.
    (DATA / name).write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), 9, mtime=0))


def smp(folder: Path) -> dict[str, dict[str, list[int]]]:
    """What -> name -> shape."""
    found = {}
    for file in sorted((folder / "keys").glob("state_dict_keys_*.txt")):
        rows = [line.split("\t") for line in file.read_text().splitlines()]
        found[file.stem.removeprefix("state_dict_keys_")] = {
            row[0]: [] if row[1] == "scalar" else [int(side) for side in row[1].split("x")] for row in rows
        }
    return found


def timm_shapes() -> dict[str, dict[str, list[int]]]:
    """The same of timm's classifiers."""
    import timm

    return {
        name: {key: list(value.shape) for key, value in timm.create_model(name, pretrained=False).state_dict().items()}
        for name in TIMM
    }


def main(folder: Path) -> None:
    """Write the files."""
    _write("smp_shapes.json.gz", smp(folder))
    with np.load(folder / "fixtures" / "legacy.npz") as stored:
        np.savez_compressed(DATA / "smp_logits.npz", **{f"{name}/{kind}": stored[f"{name}/logits{kind}"] for name in KEPT
                                                        for kind in ("@", "#", ".shape")})  # fmt: skip
    _write("timm_shapes.json.gz", timm_shapes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
