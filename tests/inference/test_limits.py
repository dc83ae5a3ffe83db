"""What is said before predictions that cannot be complete."""

from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_ext.inference.build import warn_of_more_objects
from ppdet_ext.structures import TestSettings


@pytest.mark.parametrize(("objects", "crowds", "said"), [(100, 0, False), (101, 0, True), (101, 1, False), (150, 9, True)])
def test_more_objects_than_detections_are_kept_are_warned_of(caplog, objects, crowds, said):
    records = [SimpleNamespace(name=name, crowd=np.arange(count) < crowds) for name, count in (("a", 3), ("b", objects))]
    warn_of_more_objects(SimpleNamespace(records=records), TestSettings())
    expected = (
        f"1 image with more objects than detections are kept of one, max_detections: 100 (b has {objects - crowds} objects)"
    )
    assert (expected in caplog.text) == said
