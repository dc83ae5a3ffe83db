"""RoIAlign over a feature pyramid inside a traced graph, where nothing is known of how many regions a level has."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F

from .tensor_boxes import area, has_extent


def level_of(boxes: paddle.Tensor, levels: int, finest_size: float) -> paddle.Tensor:
    """Level that each box (n, 4) is pooled from, (n,) int64; `levels` of a box without extent. See `Pyramid`."""
    ratio = paddle.sqrt(paddle.clip(area(boxes), min=0.0)) / finest_size + 1e-6
    level = paddle.zeros_like(ratio)
    for k in range(1, levels):  # comparisons are exact where a logarithm is not
        level = level + (ratio >= float(1 << k)).astype("float32")
    real = has_extent(boxes).astype("float32")
    return (level * real + levels * (1.0 - real)).astype("int64")


class Canvas:
    """The levels of one image's pyramid in one map, one below the other, so that one RoIAlign pools regions of all of them.

    Level by level it would be as many operators, on numbers of regions that are known only when it runs, and what they give
    put together and in order again: that took OpenVINO as long as RoIAlign itself. Around a level are copies of its outermost
    cells, since RoIAlign takes those for what lies between them and the border of the image, where all regions end.

    Args:
        maps: per level (1, C, H, W), each narrower than the first.
        strides, finest_size: of the pyramid.
    """

    def __init__(self, maps: Sequence[paddle.Tensor], strides: Sequence[int], finest_size: float = 56):
        self.finest_size, self.levels = finest_size, len(maps)
        self._scales = paddle.to_tensor([[1.0 / stride] for stride in strides])
        parts, top, tops = [], paddle.zeros([1]), []
        for own in maps:
            parts.append(own if len(maps) == 1 else _framed(own, maps[0]))
            tops.append(top)
            top = top + _sides(parts[-1])[:1].astype("float32")
        self.map = paddle.concat(parts, axis=2) if len(parts) > 1 else parts[0]
        # Behind the copy of the first row.
        self._tops = paddle.concat(tops).reshape([-1, 1]) + (1.0 if len(maps) > 1 else 0.0)

    def pool(self, boxes: paddle.Tensor, size: int) -> paddle.Tensor:
        """As `Pyramid.pool`.

        Args:
            boxes: (n, 4) float32 px, clipped to the image.
            size: output cells along each side.

        Returns:
            (n, C, size, size) float32; 0 of a region without extent.
        """
        return self._aligned(self._placed(boxes), size)

    def pool_merged(self, boxes: paddle.Tensor, size: int, merge: int) -> tuple[paddle.Tensor, paddle.Tensor]:
        """As `Pyramid.pool` with its `merge`, but in another order: small regions, whose cells have one sample before they are
        merged, are pooled at the end's size at once, with `merge` samples along each side of a cell.

        Returns:
            (n, C, size, size) float32, and the place (n,) int64 that each of them has in `boxes`.
        """
        placed = self._placed(boxes)
        is_small = (placed[:, 2:] - placed[:, :2]).max(axis=1) <= size * merge
        small, large = (paddle.nonzero(own).flatten() for own in (is_small, paddle.logical_not(is_small)))
        merged = F.avg_pool2d(self._aligned(paddle.gather(placed, large), size * merge), merge)
        cells = [self._aligned(paddle.gather(placed, small), size, merge), merged]
        return paddle.concat(cells), paddle.concat([small, large])

    def _placed(self, boxes: paddle.Tensor) -> paddle.Tensor:
        """Boxes (n, 4) px in cells of the map."""
        level = level_of(boxes, self.levels, self.finest_size)
        real, level = level < self.levels, paddle.clip(level, max=self.levels - 1)
        down = paddle.gather(self._tops, level)
        placed = boxes * paddle.gather(self._scales, level) + paddle.concat([paddle.zeros_like(down), down] * 2, axis=1)
        # Beside the map all is 0; of a region without extent the operator would give 0 / 0.
        beside = paddle.zeros_like(boxes) + paddle.to_tensor([-9.0, -9.0, -8.0, -8.0])
        return paddle.where(real.unsqueeze(1).tile([1, 4]), placed, beside)

    def _aligned(self, placed: paddle.Tensor, size: int, samples: int = 0) -> paddle.Tensor:
        """RoIAlign with so many samples along each side of a cell; 0: one for each cell of the map that it reaches over."""
        count = paddle.shape(placed)[:1].astype("int32")
        return paddle.vision.ops.roi_align(self.map, placed, count, size, 1.0, sampling_ratio=samples, aligned=True)


def _framed(x: paddle.Tensor, widest: paddle.Tensor) -> paddle.Tensor:
    """(1, C, H, W) -> (1, C, H + 2, W' + 1), W' that of `widest`: first and last row and last column twice, then zeros."""
    rows = paddle.concat([x[:, :, :1], x, x[:, :, -1:]], axis=2)
    parts = [rows, rows[:, :, :, -1:]]
    if x is not widest:
        height, rest = _sides(rows)[:1], _sides(widest)[1:] - _sides(x)[1:]
        parts.append(paddle.zeros([1, x.shape[1], height, rest]))
    return paddle.concat(parts, axis=3)


def _sides(x: paddle.Tensor) -> paddle.Tensor:
    """Height and width of (B, C, H, W), which a graph may not know, (2,) int32."""
    return paddle.shape(x)[2:].astype("int32")


def pool_fixed(
    maps: Sequence[paddle.Tensor],
    strides: Sequence[int],
    finest_size: float,
    boxes: paddle.Tensor,
    size: int,
    merge: int = 1,
) -> paddle.Tensor:
    """As `Pyramid.pool`, of as many regions in every image; it asks the host nothing.

    Each level pools all regions; those of other levels are small there, and what they give is not used.

    Args:
        maps: per level (B, C, H, W).
        strides, finest_size: of the pyramid.
        boxes: (B, k, 4) float32 px.
        size, merge: as there.

    Returns:
        (B·k, C, size, size) float32; 0 of a region without extent, and of one that is not finite.
    """
    count = paddle.full([boxes.shape[0]], boxes.shape[1], "int32")
    boxes = boxes.reshape([-1, 4])
    finite = paddle.isfinite(boxes).all(axis=1, keepdim=True)  # Paddle's operator would abort the process
    boxes = paddle.where(finite, boxes, paddle.zeros_like(boxes))
    level, total = level_of(boxes, len(maps), finest_size), None
    for k, (feature, stride) in enumerate(zip(maps, strides)):
        own = (level == k).unsqueeze(1)
        small = paddle.to_tensor([[0.0, 0.0, float(stride), float(stride)]])
        part = paddle.where(own, boxes, small.expand_as(boxes))
        cells = paddle.vision.ops.roi_align(feature, part, count, size * merge, 1.0 / stride, sampling_ratio=0, aligned=True)
        cells = F.avg_pool2d(cells, merge) if merge > 1 else cells
        cells = cells * own.astype(cells.dtype).reshape([-1, 1, 1, 1])
        total = cells if total is None else total + cells
    return total
