"""What a run was when a checkpoint was taken, and what is different now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ppdet_ext.config.files import Tagged
from ppdet_ext.config.keys import Decides, key_of
from ppdet_ext.errors import UserError

from .folder import Position

# Kinds of change that --allow_change takes, each with what it does to a resumed run.
CHANGES = {
    "world_size": "the epoch goes on after as many images, rounded down to a whole step",
    "batch_size": "the epoch goes on after as many images, rounded down to a whole step",
    "dataset": "the epoch begins again from its first image",
    "seed": "the epoch begins again from its first image",
    "config": "the new values count from here on",
}


@dataclass(frozen=True)
class RunFingerprint:
    """What decides the course of a training.

    Attributes:
        world_size: number of ranks.
        batch_size: images of one batch on one rank.
        accumulation: batches of one step on one rank.
        seed: of the run.
        images: number of training images.
        dataset: hash of the training images' names, sizes and annotations.
        config: the resolved configuration, flat: 'LearningRate.base_lr' -> 0.02.
        config_text: the same as YAML.
        versions: of paddle, ppdet, …; they do not hinder resuming.
    """

    world_size: int
    batch_size: int
    accumulation: int
    seed: int
    images: int
    dataset: str
    config: dict[str, Any]
    config_text: str = ""
    versions: dict[str, Any] | None = None

    @property
    def total_batch(self) -> int:
        """Images of one step on all ranks."""
        return self.world_size * self.batch_size * self.accumulation

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of the run."""
        config_hash = hashlib.sha256(self.config_text.encode()).hexdigest()
        return {"world_size": self.world_size, "config_sha256": config_hash, "versions": self.versions or {}}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `RunFingerprint(**it)` is equal but for text and versions."""
        names = ("world_size", "batch_size", "accumulation", "seed", "images", "dataset", "config")
        return {name: getattr(self, name) for name in names}


def fingerprint_of(
    tree: dict[str, Any], dataset: Any, world_size: int, amp: bool, config_text: str, versions: dict[str, Any]
) -> RunFingerprint:
    """Of a run on `dataset` (read; None on the ranks that do not save) by the resolved configuration `tree`."""
    return RunFingerprint(
        world_size=world_size,
        batch_size=int(tree["TrainReader"].get("batch_size", 1)),
        accumulation=int(tree["gradient_accumulation_steps"]),
        seed=int(tree["seed"]),
        images=0 if dataset is None else len(dataset),
        dataset="" if dataset is None else dataset_fingerprint(dataset),
        config={**dict(_flat(tree)), "--amp": amp},
        config_text=config_text,
        versions=versions,
    )


def dataset_fingerprint(dataset: Any) -> str:
    """Hash of what is trained on: class names, and per image name, size and annotations; folders do not count."""
    found = hashlib.sha256(repr(list(dataset.class_names)).encode())
    for record in dataset.records:
        found.update(f"{record.name} {record.height} {record.width} {len(record.masks)}\n".encode(errors="surrogateescape"))
        for array in (record.labels, record.boxes, record.crowd):
            found.update(array.tobytes())
        for mask in record.masks:
            found.update(mask.counts)
    return found.hexdigest()


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tagged):
        yield f"{path}.class", value.tag
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}.{index}")
    else:
        yield path, value if isinstance(value, (bool, int, float, type(None))) else str(value)


def differences(old: RunFingerprint, new: RunFingerprint) -> dict[str, list[str]]:
    """Kind of change (a key of CHANGES) -> lines 'what: before -> now'; empty if the run goes on as it was."""
    found: dict[str, list[str]] = {}

    def note(kind: str, name: str, before: Any, now: Any) -> None:
        if before != now:
            found.setdefault(kind, []).append(f"{name}: {before} -> {now}")

    note("world_size", "number of ranks", old.world_size, new.world_size)
    note("batch_size", "TrainReader.batch_size", old.batch_size, new.batch_size)
    note("batch_size", "gradient_accumulation_steps", old.accumulation, new.accumulation)
    note("seed", "seed", old.seed, new.seed)
    note("dataset", "training images", old.images, new.images)
    if old.dataset != new.dataset and old.images == new.images:
        note("dataset", "training data", f"{old.dataset[:8]}…", f"{new.dataset[:8]}… (other names, sizes or annotations)")
    for key in sorted({*old.config, *new.config}):
        facts = key_of(key)
        # Changes of another kind are compared above, by content.
        if Decides.TRAINING in facts.decides and facts.change == "config":
            note("config", key, old.config.get(key, "absent"), new.config.get(key, "absent"))
    return found


def demand_allowed(changes: dict[str, list[str]], allowed: Sequence[str], source: str) -> None:
    """UserError with a readable list of the changes, unless every kind of them is allowed."""
    refused = [kind for kind in changes if kind not in allowed]
    if not refused:
        return
    lines = [f"  {kind}: {line}" for kind in changes for line in changes[kind]]
    meanings = [f"  {kind}: {CHANGES[kind]}" for kind in refused]
    raise UserError(
        f"Cannot resume from {source} as it is: this run differs from the one that saved it (before -> now)\n"
        + "\n".join(lines)
        + f"\nTo go on all the same add --allow_change {' '.join(changes)}. Then\n"
        + "\n".join(meanings)
        + "\nTo leave that run alone start another one elsewhere (-o save_dir=…)."
    )


def moved_position(position: Position, old: RunFingerprint, new: RunFingerprint, kinds: Sequence[str], steps: int) -> Position:
    """Where a changed run goes on (see CHANGES); `steps` is the number of steps of its epochs."""
    if "seed" in kinds or "dataset" in kinds:
        return Position(position.epoch, 0)
    step = position.step
    if "world_size" in kinds or "batch_size" in kinds:
        step = step * old.total_batch // new.total_batch
    return Position(position.epoch, min(step, steps))
