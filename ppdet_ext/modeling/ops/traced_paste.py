"""Masks pasted into the image inside a traced graph, all at once: what `structures.paste.paste_masks` does."""

import paddle


def paste(probs: paddle.Tensor, boxes: paddle.Tensor, image: paddle.Tensor, threshold: float) -> paddle.Tensor:
    """Resample each mask into its box and threshold it; a box without extent gives an empty mask.

    Args:
        probs: (n, S, S) float32.
        boxes: (n, 4) float32 px of the image.
        image: (B, C, H, W), whose height and width the masks get; they may be unknown.
        threshold: least probability of a pixel of a mask.

    Returns:
        (n, H, W) uint8, 0 or 1. As float32, they take 4·n·H·W bytes on the way.
    """
    cells = probs.shape[2]
    ones = paddle.ones_like(image[0, 0])
    rows = _weights(boxes[:, 1], boxes[:, 3], paddle.cumsum(ones[:, 0]) - 0.5, cells)
    columns = _weights(boxes[:, 0], boxes[:, 2], paddle.cumsum(ones[0]) - 0.5, cells)
    # Bilinear sampling is separable. Columns first, as the runtime has it, so that both round alike.
    across = paddle.matmul(probs, columns, transpose_y=True)
    return (paddle.matmul(rows, across) >= threshold).astype("uint8")


def _weights(low: paddle.Tensor, high: paddle.Tensor, centres: paddle.Tensor, cells: int) -> paddle.Tensor:
    """What each cell gives to each pixel along an axis: bounds (n,), centres of pixels (L,) -> (n, L, cells)."""
    low, extent = low.reshape([-1, 1]), (high - low).reshape([-1, 1])
    unit = (centres.unsqueeze(0) - low) / extent.clip(min=1e-12) * 2.0 - 1.0
    place = ((unit + 1.0) * cells - 1.0) / 2.0
    weights = (1.0 - (place.unsqueeze(2) - paddle.arange(cells, dtype="float32")).abs()).clip(min=0.0)
    return weights * (extent > 0).astype("float32").unsqueeze(2)
