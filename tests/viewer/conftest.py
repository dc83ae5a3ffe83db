"""A page of drawn sheets."""

from pathlib import Path

import pytest
from viewer_cases import Page, session


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(session(tmp_path))
