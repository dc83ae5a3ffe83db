"""torchvision's Mask R-CNN R50-FPN with random weights that find as much as a trained model would."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

SPREAD, RESIDUAL = 2.5, 0.2  # as in prepare.py


def peer(batches: list[np.ndarray], count: int, mode: str, paste: bool, device: str) -> Callable[[int], list[dict]]:
    """What finds at most `count` objects an image in the k-th batch.

    Args:
        batches: (B, H, W, 3) uint8 on the host.
        count: objects at most.
        mode: "fp32", "tf32" (as torch sets up: convolutions alone, and here products, too) or "fp16", by autocast.
        paste: whether masks are pasted into the whole image on the device; else they are returned as 28 × 28 probabilities.
        device: "cuda" or "cpu".
    """
    import torch
    from torchvision.models.detection import transform

    allow = mode != "fp32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow
    model = _model(batches[0], count, device)
    whole = transform.paste_masks_in_image

    def work(k: int) -> list[dict]:
        transform.paste_masks_in_image = whole if paste else lambda masks, boxes, size: masks
        half = torch.autocast(device, torch.float16) if mode == "fp16" and device == "cuda" else nullcontext()
        with torch.inference_mode(), half:
            found = model(_tensors(batches[k % len(batches)], device))
            return [{name: value.cpu() for name, value in one.items()} for one in found]

    return work


def _tensors(batch: np.ndarray, device: str) -> list[Any]:
    import torch

    pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 255
    return list(pixels)


def _model(batch: np.ndarray, count: int, device: str) -> Any:
    """Its weights: convolutions by He, batch norms that do nothing, class logits of a spread of `SPREAD`."""
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    height, width = batch.shape[1:3]
    sizes = {"min_size": min(height, width), "max_size": max(height, width)}
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81, box_detections_per_img=count, **sizes)
    for name, layer in model.backbone.body.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
            if name.endswith("conv3"):
                layer.weight.data *= RESIDUAL
    model = model.eval().to(device)
    head, seen = model.roi_heads.box_predictor.cls_score, []
    hook = head.register_forward_hook(lambda layer, x, y: seen.append((y - layer.bias).float()))
    with torch.inference_mode():
        model(_tensors(batch[:1], device))
    hook.remove()
    mean = seen[0].mean(0)
    factor = SPREAD / (seen[0] - mean).std()
    with torch.no_grad():
        head.weight.copy_(head.weight * factor)
        head.bias.copy_(-mean * factor)
    return model
