"""How the files of this folder were cut from the reference's full dumps; not run by the tests.

    python tests/modeling/golden/make_from_fixtures.py DUMPS

DUMPS holds ops.npz, and tiny_a/ and tiny_b/ with infer_{rpn,fixed,padded}.{npz,json}, train.{npz,json} and
noise_f32_vs_f64.json, made with mmdet 3.3.0, mmcv 2.1.0, torch 2.13.0 on a CPU. Written are, per model and case, the thinned
tensors (`NAME_CASE.npz`) and one `NAME.json`: fingerprints of whole tensors, losses, gradients, trajectories, and what float32
differs from float64.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "support"))
from reference_subset import floors, thin_all  # noqa: E402

CASES = ("rpn", "fixed", "padded")


def fingerprints(summary: dict) -> dict:
    """l2 norm and projection of every tensor that the dump summarises, with its number of values."""
    return {
        key: [float(np.prod(v["shape"])), v["l2"], v["proj"]]
        for key, v in summary.items()
        if isinstance(v, dict) and "proj" in v
    }


def convert(source: Path, name: str) -> None:
    """Write the files of one model."""
    train = json.loads((source / "train.json").read_text())
    noise = json.loads((source / "noise_f32_vs_f64.json").read_text())
    summary = {
        "fingerprints": {"train": fingerprints(train)},
        "floors": {
            case: floors(case, {k: v["maxabs"] for k, v in noise[case].items() if isinstance(v, dict)})
            for case in [f"infer_{c}" for c in CASES] + ["train"]
            if case in noise
        },
        "loss_floor": max(v[2] for v in noise["losses"].values()),
        "grad_floor": [noise["grad_norm_rel_median"], max(noise["grad_norm_rel_worst"].values())],
        "losses": train["losses"],
        "grads": {k: v and {"norm": v["norm"], "proj": v["proj"]} for k, v in train["grads"].items()},
        "sgd": train["sgd"],
    }
    arrays = {k: v for k, v in np.load(source / "train.npz").items() if not k.endswith("_shape")}
    np.savez_compressed(HERE / f"{name}_train.npz", **thin_all(arrays, name))
    for case in CASES:
        if (source / f"infer_{case}.npz").exists():
            np.savez_compressed(HERE / f"{name}_{case}.npz", **thin_all(dict(np.load(source / f"infer_{case}.npz")), name))
            summary["fingerprints"][f"infer_{case}"] = fingerprints(json.loads((source / f"infer_{case}.json").read_text()))
    (HERE / f"{name}.json").write_text(json.dumps(summary, separators=(",", ":")) + "\n")


def operations(source: Path) -> None:
    """Values of single operations; deformable convolutions and pasting have files of their own."""
    kept = {k: v for k, v in np.load(source).items() if not k.startswith(("dcn", "paste"))}
    np.savez_compressed(HERE / "ops.npz", **kept)


if __name__ == "__main__":
    operations(Path(sys.argv[1]) / "ops.npz")
    for model in ("tiny_a", "tiny_b"):
        convert(Path(sys.argv[1]) / model, model)
