"""Thin the fixtures of segmentation_models_pytorch's networks, and their lists of tensors, to what the tests need.

    python tests/modeling/golden/make_smp_networks.py FOLDER

FOLDER has `fixtures/` and `keys/`. Writes fixtures_smp/networks.npz and network_keys.json beside this folder.
"""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import ppdet_ext.register  # noqa: F401, I001  first: it sets threads
import numpy as np
from smp_checks import KEPT, thin, whole_networks
from smp_recipe import FIXTURES


def lines_of(path: Path) -> list[str]:
    """`name shape` of each tensor that a list names, but torch's counts of batches."""
    rows = (line.rstrip("\n").split("\t") for line in path.open())
    return [f"{name} {shape}" for name, shape, *_ in rows if not name.endswith("num_batches_tracked")]


def keys(folder: Path) -> dict[str, dict]:
    """Network -> number of its tensors and a checksum of their names and shapes, sorted."""
    found = {}
    encoders = {path.stem.split("_encoder_")[1]: lines_of(path) for path in folder.glob("*_encoder_*.txt")}
    for path in sorted(folder.glob("state_dict_keys_*.txt")):
        name = path.stem.removeprefix("state_dict_keys_")
        if name.startswith(("encoder_", "smp003")):
            continue
        encoder = encoders[name.split("-", 1)[1]]
        if name.startswith("unet_gray"):
            encoder = [line.replace(" 64x3x7x7", " 64x1x7x7") for line in encoder]
        lines = sorted([*lines_of(path), *encoder])
        found[name] = {"tensors": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
    return found


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    networks = whole_networks(folder / "fixtures")
    kept = {f"{name}|{key}": value for name in KEPT for key, value in thin(networks[name]).items()}
    np.savez_compressed(FIXTURES / "networks.npz", **kept)
    rows = [f' "{name}": {json.dumps(row)}' for name, row in keys(folder / "keys").items()]
    (FIXTURES / "network_keys.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
