"""Modules loaded when something of them is asked for."""

import importlib
import subprocess
import sys

import pytest

from ppdet_ext.host.deferred import defer

NAMES = ("parcel", "parcel.inner", "parcel.broken", "parcel.missing", "no_such_package.inner")


@pytest.fixture
def parcel(tmp_path, monkeypatch):
    """A package that tells when it is loaded."""
    folder = tmp_path / "parcel"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import sys\nsys.parcel_log.append('parcel')\nfrom .leaf import LEAF\nVALUE = LEAF + 1\n"
    )
    (folder / "leaf.py").write_text("LEAF = 1\n")
    (folder / "inner.py").write_text("import sys\nsys.parcel_log.append('inner')\nVALUE = 3\n")
    (folder / "broken.py").write_text("raise ImportError('broken on purpose')\n")
    monkeypatch.syspath_prepend(tmp_path)
    log: list[str] = []
    monkeypatch.setattr(sys, "parcel_log", log, raising=False)
    importlib.invalidate_caches()
    yield log
    for name in [name for name in sys.modules if name.split(".")[0] == "parcel"]:
        del sys.modules[name]


def test_an_import_loads_nothing_and_an_attribute_does(parcel):
    defer(["parcel"])
    import parcel as module

    assert not parcel
    assert (module.VALUE, module.__path__[0].endswith("parcel")) == (2, True)
    assert parcel == ["parcel"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_a_module_of_a_deferred_package_loads_the_package_first(parcel):
    defer(["parcel"])
    from parcel.inner import VALUE

    assert VALUE == 3
    assert parcel == ["parcel", "inner"]


def test_a_deferred_module_inside_a_package(parcel):
    defer(NAMES)
    from parcel import inner

    loaded = list(parcel)
    assert inner.VALUE == 3
    assert (loaded, parcel) == (["parcel"], ["parcel", "inner"])
    defer(NAMES)
    assert sys.modules["parcel.inner"] is inner, "what is imported stays"
    assert not {"parcel.missing", "no_such_package"} & set(sys.modules)


def test_what_cannot_be_loaded_says_so_when_asked_each_time(parcel):
    defer(NAMES)
    from parcel import broken

    with pytest.raises(ImportError, match="on purpose"):
        _ = broken.VALUE
    with pytest.raises(ImportError, match="on purpose"):
        import parcel.broken  # noqa: F401


def test_the_host_is_imported_without_them_and_they_work_afterwards():
    code = """
import sys
import ppdet_ext.register
print(sorted({"pandas._libs", "sklearn.utils"} & set(sys.modules)))
import pandas
from sklearn.metrics import roc_auc_score
from matplotlib import pyplot
print(int(pandas.DataFrame({"a": [1, 2]}).a.sum()), roc_auc_score([0, 1], [0, 1]), pyplot.Figure.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[-3:-1] == ["[]", "3 1.0 Figure"]
