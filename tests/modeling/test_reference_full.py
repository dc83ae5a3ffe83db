"""The full-size models' inference against mmdetection's numbers: ResNet-50, and on request ResNeXt-101 with deformable layers.

    PPDET_EXT_LARGE=1 python -m pytest tests/modeling/test_reference_full.py

They take 10 s and 14 s on two cores, and 1.4 GB; without the variable the second is skipped.
"""

import os

import pytest
import reference_checks


@pytest.mark.parametrize("name", ["full_a", "full_c"])
def test_every_stage_of_the_full_size_model(name):
    if name == "full_c" and not os.environ.get("PPDET_EXT_LARGE"):
        pytest.skip("set PPDET_EXT_LARGE=1 to check ResNeXt-101, too")
    checks = reference_checks.inference(name, "fixed")
    assert len(checks) > 60
    assert [c for c in checks if not c.ok] == []
