"""The tests every encoder passes; a subclass names it."""

import numpy as np
import paddle
import pytest

from ppdet_ext.modeling.backbones import build_encoder
from ppdet_ext.modeling.backbones.encoder import Encoder


def maps(encoder: Encoder, height: int = 64, width: int = 96, batch: int = 1) -> list[paddle.Tensor]:
    """What an encoder gives of random images."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(batch, encoder.in_channels, height, width)).astype(np.float32)
    return encoder({"image": paddle.to_tensor(image)})


class EncoderTests:
    """Subclass with `name`, an encoder's; small ones make fast tests."""

    name: str

    def build(self, **settings) -> Encoder:
        """The encoder, with seeded weights."""
        paddle.seed(0)
        return build_encoder(self.name, **settings)

    @pytest.mark.parametrize("output_stride", [32, 16, 8])
    def test_shapes_are_what_out_shape_says(self, output_stride):
        encoder = self.build(output_stride=output_stride)
        encoder.eval()
        with paddle.no_grad():
            found = maps(encoder)
        assert [shape.stride for shape in encoder.out_shape] == [min(s, output_stride) for s in (2, 4, 8, 16, 32)]
        expected = [[1, s.channels, 64 // s.stride, 96 // s.stride] for s in encoder.out_shape]
        assert [list(one.shape) for one in found] == expected

    def test_depth_and_return_idx_choose_maps_and_keep_all_tensors(self):
        whole, first, some = self.build(), self.build(depth=3), self.build(return_idx=[1, 2, 3, 4])
        assert list(whole.state_dict()) == list(first.state_dict()) == list(some.state_dict())
        assert [s.stride for s in first.out_shape] == [2, 4, 8]
        assert [s.stride for s in some.out_shape] == [4, 8, 16, 32]
        for encoder in (whole, first, some):
            encoder.eval()
        with paddle.no_grad():
            every, three, four = maps(whole), maps(first), maps(some)
        for one, other in zip([*every[:3], *every[1:]], [*three, *four], strict=True):
            assert np.array_equal(one.numpy(), other.numpy())

    def test_what_is_computed_gets_a_gradient_and_nothing_waits_for_the_rest(self):
        encoder = self.build(depth=4, in_channels=1)
        sum(one.mean() for one in maps(encoder, batch=2)).backward()
        without = [k for k, p in encoder.named_parameters() if not p.stop_gradient and p.grad is None]
        assert without == []
        assert any(p.stop_gradient for k, p in encoder.named_parameters() if k.endswith("weight")), "of f5"

    def test_frozen_it_neither_learns_nor_remembers(self):
        encoder = self.build(freeze=True)
        encoder.train()
        before = {k: v.numpy().copy() for k, v in encoder.state_dict().items()}
        assert all(one.stop_gradient for one in maps(encoder, batch=2))
        assert all(p.stop_gradient for p in encoder.parameters())
        assert all(np.array_equal(v.numpy(), before[k]) for k, v in encoder.state_dict().items())

    def test_norm_eval_learns_and_keeps_the_statistics(self):
        encoder = self.build(norm_eval=True)
        encoder.train()
        before = {k: v.numpy().copy() for k, v in encoder.state_dict().items() if k.endswith(("_mean", "_variance"))}
        maps(encoder)[-1].mean().backward()
        assert all(np.array_equal(encoder.state_dict()[k].numpy(), v) for k, v in before.items())
        assert any(p.grad is not None for p in encoder.parameters())

    def test_training_repeats_bit_for_bit(self):
        runs = []
        for _ in range(2):
            encoder = self.build()
            encoder.train()
            paddle.seed(5)
            last = maps(encoder, batch=2)[-1]
            last.mean().backward()
            runs.append([last.numpy(), next(p.grad.numpy() for p in encoder.parameters() if p.grad is not None)])
        assert all(np.array_equal(a, b) for a, b in zip(*runs))
