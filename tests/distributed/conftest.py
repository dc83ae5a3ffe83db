"""Fixtures for ranks as processes."""

import pytest

from ppdet_ext.distributed import monitor


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(monitor, "INTERVAL", 0.2)
    monkeypatch.setattr(monitor, "GRACE", 0.5)
