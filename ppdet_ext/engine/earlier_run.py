"""What an earlier run left in the folder of one that starts anew: kept until the new run has saved something."""

import logging
from pathlib import Path

logger = logging.getLogger("ppdet_ext.engine")
SUFFIXES = (".pdparams", ".pdopt", ".pdema", ".json")
# Files whose names say nothing of the epoch: left in place they would be taken for the new run's.
NAMED = ("best_model", "model_final")


class EarlierRun:
    """Checkpoints of an earlier run in `folder`.

    Attributes:
        names: stems of those that could be resumed from.
        replaced: whether the new run has taken over the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = [path.stem for path in sorted(folder.glob("*.json")) if path.with_suffix(".pdopt").exists()]
        self.replaced = not self.names
        if self.names:
            logger.warning(
                "%s holds checkpoints of an earlier run (%s); this one starts anew and replaces them when it first saves "
                "(-r auto would continue the earlier one)",
                folder,
                ", ".join(self.names[:5]),
            )

    def metrics_path(self, path: Path) -> Path:
        """Where the new run writes its records: beside the earlier run's until that is replaced."""
        return path if self.replaced else path.with_name(f"{path.stem}.new{path.suffix}")

    def set_aside(self) -> None:
        """Before the first save: `best_model` and `model_final` become `best_model.old` and `model_final.old`.

        They keep their manifests, so that a save that fails leaves something to resume from.
        """
        for name in NAMED:
            for suffix in SUFFIXES:
                path = self.folder / f"{name}{suffix}"
                aside = self.folder / f"{name}.old{suffix}"
                if path.exists():
                    path.replace(aside)
                else:
                    aside.unlink(missing_ok=True)

    def retire(self, saved: Path, metrics: Path) -> None:
        """After the first save, of the stem `saved`: `-r auto` no longer finds the earlier run; its weights stay.

        The earlier records are renamed to `metrics.old.jsonl`, the new run's get their place.
        """
        for name in [*self.names, *(f"{name}.old" for name in NAMED)]:
            if name != saved.name:
                (self.folder / f"{name}.json").unlink(missing_ok=True)
        written = self.metrics_path(metrics)
        if metrics.exists():
            metrics.replace(metrics.with_name(f"{metrics.stem}.old{metrics.suffix}"))
        if written.exists():
            written.replace(metrics)
        self.replaced = True
