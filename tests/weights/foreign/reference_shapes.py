"""Names and shapes of whole models as mmdetection 3.3.0 builds them (`state_dict()`), by our configuration's name."""

import gzip
import json
from pathlib import Path

from ppdet_ext.commands.convert import model_shapes
from ppdet_ext.config.load import load_config

DATA = Path(__file__).parent / "data"
# mmdetection's HTC has COCO-stuff's 183 classes in the semantic branch.
STUFF = "FusedSemanticHead.num_semantic_classes=183"
R50 = "htc/htc_r50_fpn_1x_coco"
X101_DCN = "htc/htc_x101_64x4d_fpn_dconv_c3-c5_mstrain_400_1400_20e_coco"


def reference_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Configuration -> name -> shape."""
    content = json.loads(gzip.decompress((DATA / "state_dicts.json.gz").read_bytes()))
    return {config: {name: tuple(shape) for name, shape in shapes.items()} for config, shapes in content.items()}


def our_shapes(config: str, *overrides: str) -> dict[str, list[int]]:
    """Names and shapes of the model of one of our configurations."""
    given = list(overrides) or ([STUFF] if config in (R50, X101_DCN) else [])
    return model_shapes(load_config(f"configs/{config}.yml", given))
