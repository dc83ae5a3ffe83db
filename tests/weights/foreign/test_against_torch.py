"""Our reader and writer against torch itself (requirements-torch.txt), and whole models of full size."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipe import parameter

from ppdet_ext.commands.convert import convert, convert_back
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.files.tensor_file import open_tensors
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.foreign.mmdet import from_mmdet, name_table
from tests.weights.foreign.reference_shapes import R50, STUFF, X101_DCN, our_shapes, reference_shapes

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@st.composite
def tensor(draw: st.DrawFn, base: "torch.Tensor"):
    """A view of a common storage, or a tensor of its own, of any type, contiguous or not."""
    if draw(st.booleans()):
        size = draw(st.lists(st.integers(0, 4), max_size=3))
        strides = [draw(st.integers(1, 5)) for _ in size]
        last = sum((n - 1) * s for n, s in zip(size, strides)) if all(size) else 0
        offset = draw(st.integers(0, 10))
        if offset + last < base.numel() and int(np.prod(size)) <= base.numel():
            return base.as_strided(size, strides, offset)
    values = draw(st.lists(st.integers(0, 100), max_size=12))
    made = torch.tensor(values).to(getattr(torch, draw(st.sampled_from(DTYPES))))
    return torch.nn.Parameter(made) if made.is_floating_point() and draw(st.booleans()) else made


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_torch_writes_is_read(data: st.DataObject, tmp_path: Path) -> None:
    base = torch.arange(64, dtype=torch.float32) * 0.1
    state = OrderedDict((f"t{i}", data.draw(tensor(base))) for i in range(data.draw(st.integers(1, 4))))
    path = tmp_path / "w.pth"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=data.draw(st.booleans()),
               pickle_protocol=data.draw(st.sampled_from([2, 3, 4, 5])))  # fmt: skip
    with open_tensors(path) as file:
        assert file.shapes == {name: tuple(value.shape) for name, value in state.items()}
        for name, value in state.items():
            plain = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
            assert file.read(name).dtype == plain.numpy().dtype
            assert np.array_equal(file.read(name), plain.numpy())


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_what_we_write(tmp_path: Path, mmap: bool) -> None:
    written = {
        "a": np.random.default_rng(0).normal(size=(3, 4, 5)).astype("f4"),
        "n": np.zeros((), "i8"),
        "e": np.zeros((0, 2), "f4"),
    }
    write_torch(tmp_path / "w.pth", {"CLASSES": ["pitted", "crazing"], "epoch": 300}, written.items())
    found = torch.load(tmp_path / "w.pth", weights_only=True, mmap=mmap)
    assert found["meta"] == {"CLASSES": ["pitted", "crazing"], "epoch": 300}
    assert type(found["state_dict"]) is OrderedDict
    assert {name: (value.dtype, value.shape) for name, value in found["state_dict"].items()} == {
        "a": (torch.float32, (3, 4, 5)), "n": (torch.int64, ()), "e": (torch.float32, (0, 2))}  # fmt: skip
    assert all(np.array_equal(value.numpy(), written[name]) for name, value in found["state_dict"].items())


@pytest.mark.parametrize(("config", "recipe", "zipped", "tensors"), [
    (R50, "full_a", False, 426),
    (X101_DCN, "full_c", True, 792),
])  # fmt: skip
def test_a_full_size_checkpoint_goes_to_and_fro(config: str, recipe: str, zipped: bool, tensors: int, tmp_path: Path) -> None:
    from ppdet_ext.config.load import load_config

    state = OrderedDict()
    for name, shape in reference_shapes()[config].items():
        counter = name.endswith("num_batches_tracked")
        state[name] = torch.zeros(shape, dtype=torch.int64) if counter else torch.from_numpy(parameter(name, shape, recipe))
    assert len(state) == tensors
    source, ours, back = tmp_path / "theirs.pth", tmp_path / "ours.pdparams", tmp_path / "back.pth"
    torch.save({"meta": {}, "state_dict": state}, source, _use_new_zipfile_serialization=zipped)
    cfg = load_config(f"configs/{config}.yml", [STUFF])
    plan = convert(cfg, str(source), str(ours))
    assert (len(plan.mapped) + len(plan.skipped), plan.missing, plan.left_over) == (tensors, [], [])
    values = read_data_file(ours)
    table = name_table(our_shapes(config))
    assert list(values) == list(table)
    for name, value in values.items():
        assert np.array_equal(value, from_mmdet(table[name], state[table[name]].numpy())), name
    assert convert_back(cfg, str(ours), str(back)) == tensors
    again = torch.load(back, weights_only=True)["state_dict"]
    assert set(again) == set(state)
    assert all(torch.equal(value, state[name]) and value.dtype == state[name].dtype for name, value in again.items())


def test_the_stored_fixtures_are_what_torch_reads() -> None:
    """The expected values of test_real_files.py are torch's too."""
    from tests.weights.foreign.test_real_files import DATA, EXPECTED

    for name in ("zip", "legacy"):
        state = torch.load(DATA / f"{name}.pth", weights_only=True)["state_dict"]
        assert {key: tuple(value.shape) for key, value in state.items()} == {key: v.shape for key, v in EXPECTED.items()}
        found = {key: value.detach().float().numpy() for key, value in state.items()}
        assert all(np.array_equal(found[key], value.astype("f4"), equal_nan=True) for key, value in EXPECTED.items())


def nested_model(state: "dict[str, torch.Tensor]") -> "torch.nn.Module":
    """A module of modules with these parameters and buffers; of no use but to be saved whole."""
    root = torch.nn.Module()
    for name, value in state.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if part not in place._modules:
                place.add_module(part, torch.nn.Module())
            place = place._modules[part]
        if value.is_floating_point() and not last.startswith("running"):
            place.register_parameter(last, torch.nn.Parameter(value))
        else:
            place.register_buffer(last, value)
    return root


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["state_dict", "model_state_dict", "whole model", "script"])
def test_a_network_written_by_torch_computes_what_it_did(kind: str, zipped: bool, tmp_path: Path) -> None:
    """Values of the recipe under the names of SMP 0.0.3, whose logits are stored; wrapped as trainings leave them."""
    import paddle
    from smp_recipe import difference, image

    from ppdet_ext.weights.load import load_weights
    from tests.weights.foreign import smp_files

    what = "smp003_FPN-resnet18"
    state = OrderedDict((name, torch.from_numpy(value)) for name, value in smp_files.values_of(what).items())
    if kind == "script":
        torch.jit.save(torch.jit.script(nested_model(state)), tmp_path / "w.pth")
    else:
        wrapped = {"model_state_dict": OrderedDict((f"module.{n}", v) for n, v in state.items()), "epoch": 7}
        content = {"state_dict": state, "model_state_dict": wrapped, "whole model": nested_model(state)}[kind]
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    model = smp_files.model_of(what)
    load_weights(model, tmp_path / "w.pth")
    with paddle.no_grad():
        found = model.logits(paddle.to_tensor(image("a"))).numpy()
    with np.load(smp_files.DATA / "smp_logits.npz") as stored:
        expected = {f"a/logits{part}": stored[f"smp003/FPN-resnet18/{part}"] for part in ("@", "#", ".shape")}
    assert difference(expected, "a/logits", found) < 5e-4
