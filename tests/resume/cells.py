"""The cells of the matrix: what is trained, where it is ended, and what the next run must go on from."""

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from faults import ApThatPeaks, LossScalerOnCpu, Strike
from forked_runs import Change

TERM, INT, USR1 = (int(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGUSR1"))
PLATEAU = "[{name: ReduceOnPlateau, patience: 0, threshold: 0.9}]"
# Flags, further overrides and changes. An epoch has 5 steps, 3 with accumulation (2, 2 and 1 batches).
VARIANTS: dict[str, tuple[list[str], list[str], tuple[Change, ...]]] = {
    "plain": ([], [], ()),
    "ema": ([], ["use_ema=true", "ema_decay=0.9"], ()),
    "accumulation": ([], ["gradient_accumulation_steps=2"], ()),
    "amp": (["--amp"], [], (LossScalerOnCpu(),)),
    "sampler": ([], ["TrainReader.sampler={balance: 1, empty_ratio: 0.2, images: 10}"], ()),
    "amp-ema-accumulation": (["--amp"], ["use_ema=true", "gradient_accumulation_steps=2"], (LossScalerOnCpu(),)),
    # RAdam with LookAhead, and a rate that goes by SeverstalDice, as its configuration says.
    "segmentation": ([], [], ()),
    "segmentation-amp": (["--amp"], [], (LossScalerOnCpu(),)),
    "segmentation-loss": (
        [],
        ["use_ema=true", "ema_decay=0.9", "OptimizerBuilder.optimizer={type: AdamW}", f"LearningRate.schedulers={PLATEAU}"],
        (),
    ),
}


@dataclass(frozen=True)
class Setting:
    """What is trained; runs of equal settings must end equal."""

    variant: str = "plain"
    ranks: int = 1
    workers: int = 0
    evaluate: bool = False
    snapshot_iter: int | None = 2

    @property
    def segmentation(self) -> bool:
        """Whether it is a semantic segmentor that is trained, in place of an HTC."""
        return self.variant.startswith("segmentation")

    @property
    def argv(self) -> list[str]:
        """Flags of tools/train.py, without -c."""
        flags, overrides, _ = VARIANTS[self.variant]
        snapshot = "null" if self.snapshot_iter is None else self.snapshot_iter
        own = [f"worker_num={self.workers}", f"snapshot_iter={snapshot}", f"TrainReader.batch_size={2 // self.ranks}"]
        return ["-r", "auto", *flags, *(["--eval"] if self.evaluate else []), "-o", *own, *overrides]

    @property
    def changes(self) -> tuple[Change, ...]:
        """What each process does to itself."""
        return (*VARIANTS[self.variant][2], *([ApThatPeaks()] if self.evaluate else []))

    def __str__(self) -> str:
        parts = (self.variant, f"ranks{self.ranks}", f"workers{self.workers}", f"iter{self.snapshot_iter}")
        return "-".join((*parts, *(["eval"] if self.evaluate else [])))


@dataclass(frozen=True)
class Cell:
    """A run that is ended by each of `strikes` in turn; `resumed` names the checkpoint that the run after it goes on from."""

    setting: Setting
    strikes: tuple[Strike, ...]
    resumed: tuple[str | None, ...]

    def __str__(self) -> str:
        def place(strike: Strike) -> str:
            name = signal.Signals(strike.signum).name
            who = "" if self.setting.ranks == 1 else f"-rank{'+'.join(map(str, strike.ranks))}"
            return f"{name}-{strike.moment}-{strike.epoch}.{strike.step}{who}"

        return f"{self.setting}-{'-'.join(map(place, self.strikes))}"


def mid_epoch() -> Iterator[Cell]:
    """The middle of epoch 1: every variant × workers × ranks."""
    for variant, workers, ranks in itertools.product(("plain", "ema", "accumulation", "amp"), (0, 2), (1, 2)):
        every, step, name = (1, 1, "epoch_1_step_1") if variant == "accumulation" else (2, 2, "epoch_1_step_2")
        struck = {("plain", 2): (1,), ("ema", 0): (1,), ("accumulation", 2): (0, 1), ("amp", 0): (0, 1)}
        at = struck.get((variant, workers), (0,)) if ranks == 2 else (0,)
        setting = Setting(variant, ranks, workers, snapshot_iter=every)
        yield Cell(setting, (Strike(1, step, ranks=at),), (name,))


def places() -> Iterator[Cell]:
    """Other places; the other factors in pairs."""
    yield Cell(Setting(), (Strike(0, 0),), (None,))
    yield Cell(Setting("sampler", 1, 2), (Strike(1, 2),), ("epoch_1_step_2",))
    yield Cell(Setting("amp", 2, 2), (Strike(0, 2, ranks=(1,)),), ("epoch_0_step_2",))
    yield Cell(Setting("ema", 1, 2, True), (Strike(0, 2),), ("epoch_0_step_2",))
    # The last step of an epoch, before its evaluation.
    yield Cell(Setting("ema", 2, 0, True), (Strike(1, 4),), ("epoch_1_step_4",))
    yield Cell(Setting("plain", 1, 2, True, 1), (Strike(1, 4),), ("epoch_1_step_4",))
    yield Cell(Setting("accumulation", 2, 2, True), (Strike(2, 2, ranks=(1,)),), ("epoch_2_step_2",))
    # Between evaluation and save.
    yield Cell(Setting("amp", 1, 2, True, None), (Strike(1, 4, moment="after_epoch"),), ("epoch_0",))
    yield Cell(Setting("plain", 2, 2, True, 1), (Strike(2, 4, moment="after_epoch"),), ("epoch_2_step_4",))
    # Right after a save.
    yield Cell(Setting("plain", 1, 0, True), (Strike(1, 0, moment="before_epoch"),), ("epoch_0",))
    yield Cell(Setting("ema", 2, 2, False, None), (Strike(2, 0, moment="before_epoch", ranks=(0, 1)),), ("epoch_1",))
    yield Cell(Setting("accumulation", 1, 2, True, None), (Strike(1, 0, moment="before_epoch"),), ("epoch_0",))
    # Without checkpoints in mid-epoch.
    yield Cell(Setting("ema", 1, 0, True, None), (Strike(1, 3),), ("epoch_0",))
    yield Cell(Setting("accumulation", 2, 0, False, None), (Strike(2, 1),), ("epoch_1",))
    # Twice.
    yield Cell(Setting("ema", 1, 2, True, 1), (Strike(0, 3), Strike(2, 1)), ("epoch_0_step_3", "epoch_2_step_1"))
    yield Cell(Setting("amp", 2, 0, True), (Strike(1, 2), Strike(1, 4)), ("epoch_1_step_2", "epoch_1_step_4"))
    both = (Strike(1, 1), Strike(2, 1))
    yield Cell(Setting("amp-ema-accumulation", 2, 2, True, 1), both, ("epoch_1_step_1", "epoch_2_step_1"))


def stops() -> Iterator[Cell]:
    """Signals that are obeyed: the step is finished and saved."""
    yield Cell(Setting("ema", 1, 0), (Strike(1, 2, TERM),), ("epoch_1_step_3",))
    yield Cell(Setting("plain", 1, 2), (Strike(1, 2, INT),), ("epoch_1_step_3",))
    yield Cell(Setting("accumulation", 1, 0), (Strike(1, 0, USR1),), ("epoch_1_step_1",))
    yield Cell(Setting("amp", 1, 0, True), (Strike(1, 4, TERM),), ("epoch_1_step_5",))
    yield Cell(Setting("plain", 2, 0), (Strike(1, 2, TERM, ranks=(1,)),), ("epoch_1_step_3",))
    yield Cell(Setting("ema", 2, 2, True), (Strike(1, 2, INT, ranks=(0, 1)),), ("epoch_1_step_3",))
    yield Cell(Setting("accumulation", 2, 0, True), (Strike(1, 0, USR1),), ("epoch_1_step_1",))


def segmentation() -> Iterator[Cell]:
    """A semantic segmentor: every kind of end, and the state of its optimizer and schedule at each."""
    metric, loss = Setting("segmentation", 1, 2, True), Setting("segmentation-loss", 1, 0)
    yield Cell(metric, (Strike(1, 2), Strike(2, 0)), ("epoch_1_step_2", "epoch_1"))
    yield Cell(metric, (Strike(1, 4, moment="after_epoch"),), ("epoch_1_step_4",))
    yield Cell(metric, (Strike(1, 4, TERM),), ("epoch_1_step_5",))
    yield Cell(loss, (Strike(1, 3),), ("epoch_1_step_2",))
    yield Cell(Setting("segmentation-amp", 1, 0, True), (Strike(1, 2),), ("epoch_1_step_2",))
    yield Cell(loss, (Strike(2, 1, INT),), ("epoch_2_step_2",))
    yield Cell(Setting("segmentation", 2, 0, True), (Strike(1, 2, ranks=(1,)),), ("epoch_1_step_2",))
    yield Cell(Setting("segmentation-loss", 2, 0), (Strike(1, 2, TERM, ranks=(1,)),), ("epoch_1_step_3",))


CELLS = [*mid_epoch(), *places(), *stops(), *segmentation()]
