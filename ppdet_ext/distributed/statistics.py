"""What the forward of a model in training changes in it."""

import paddle


def running_statistics(model: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Name -> tensor of the buffers and of the batch norms' running means and variances, which paddle files as parameters."""
    names = {name for name, _ in model.named_buffers()}
    for prefix, layer in model.named_sublayers(include_self=True):
        own = [name for name in ("_mean", "_variance") if isinstance(getattr(layer, name, None), paddle.Tensor)]
        names.update(f"{prefix}.{name}" if prefix else name for name in own)
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}
