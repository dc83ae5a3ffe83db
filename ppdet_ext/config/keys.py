"""The top-level keys of a configuration that are ours."""

from typing import Any

REQUIRED, UNSET = object(), object()
# Top-level keys, their types and defaults. REQUIRED: every configuration says it. UNSET: absent unless it is said, since
# ppdet hands the key to all modules that share it, whose own defaults differ.
TOP_LEVEL: dict[str, tuple[tuple[type, ...], Any]] = {
    "architecture": ((str,), REQUIRED),
    "num_classes": ((int,), REQUIRED),
    "epoch": ((int,), 12),
    "use_gpu": ((bool,), False),
    "log_iter": ((int,), 20),
    "save_dir": ((str,), "output"),
    "snapshot_epoch": ((int,), 1),
    "snapshot_iter": ((int, type(None)), None),
    "keep_checkpoints": ((int,), 3),
    "gradient_accumulation_steps": ((int,), 1),
    "base_batch_size": ((int, type(None)), None),
    "skip_nonfinite": ((int,), 0),
    "stall_timeout": ((int,), 1800),
    "weights": ((str, type(None)), None),
    "pretrain_weights": ((str, type(None)), None),
    "worker_num": ((int,), 2),
    "seed": ((int,), 0),
    "metric": ((str, list), "COCO"),
    "use_ema": ((bool,), False),
    "ema_decay": ((float,), 0.9998),
    "norm_type": ((str, type(None)), UNSET),
    "find_unused_parameters": ((bool,), False),
}
POSITIVE = (
    *("num_classes", "epoch", "log_iter", "snapshot_epoch", "snapshot_iter", "keep_checkpoints"),
    *("gradient_accumulation_steps", "base_batch_size", "stall_timeout"),
)
