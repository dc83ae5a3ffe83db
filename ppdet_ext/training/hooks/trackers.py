"""Weights & Biases and MLflow: the curves of a training where a team collects them. Neither is needed otherwise."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_hook
from ppdet_ext.training.state import TrainState

from .scalars import ScalarHook


@register_hook
class WandB(ScalarHook):
    """Sends scalars to Weights & Biases, or keeps them for `wandb sync` (`mode: offline`). A resumed run goes on in its own.

        hooks: [WandB: {project: steel}]

    Args:
        project, name: of the run there; by default what W&B chooses.
        mode: online, offline or disabled; by default what W&B's environment says. Offline W&B cannot know what is there: of a
            run that was killed and resumed, the steps after the checkpoint are in both files that `wandb sync` takes.
        log_iter: steps between scalars.

    Raises: UserError where wandb is not installed.
    """

    def __init__(
        self, project: str | None = None, name: str | None = None, mode: str | None = None, log_iter: int = 20
    ) -> None:
        super().__init__(log_iter)
        self._wandb = _imported("wandb", "WandB")
        self.options = {"project": project, "name": name, "mode": mode}
        self.id: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"id": self.id} if self.id else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.id = state["id"]

    def open(self, state: TrainState) -> None:
        options = {key: value for key, value in self.options.items() if value is not None}
        # What is repeated after a checkpoint has steps that are there: W&B leaves them out.
        self._run = self._wandb.init(id=self.id, resume="allow", **options)
        self.id = str(self._run.id)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


@register_hook
class MLflow(ScalarHook):
    """Sends scalars to MLflow, by default into the folder `mlruns`. A resumed run goes on in its own.

        hooks: [MLflow: {experiment: steel, tracking_uri: "http://host:5000"}]

    Args:
        experiment, name: of the run there.
        tracking_uri: a server's address or a folder.
        log_iter: steps between scalars.

    Raises: UserError where mlflow is not installed.
    """

    def __init__(
        self, experiment: str | None = None, name: str | None = None, tracking_uri: str | None = None, log_iter: int = 20
    ) -> None:
        super().__init__(log_iter)
        self._mlflow = _imported("mlflow", "MLflow")
        self.experiment, self.name, self.tracking_uri = experiment, name, tracking_uri
        self.id: str | None = None
        self._done: dict[str, int] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"id": self.id} if self.id else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.id = state["id"]

    def open(self, state: TrainState) -> None:
        if self.tracking_uri:
            self._mlflow.set_tracking_uri(self.tracking_uri)
        if self.experiment:
            self._mlflow.set_experiment(self.experiment)
        self.id = str(self._mlflow.start_run(run_id=self.id, run_name=self.name).info.run_id)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        # MLflow keeps all values of a step: what a killed run wrote after its checkpoint is not sent again.
        allowed = {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in values.items()}
        new = {name: value for name, value in allowed.items() if step > self._last(name)}
        if new:
            self._mlflow.log_metrics(new, step=step)

    def _last(self, name: str) -> int:
        """The last step of that name that is there already."""
        if name not in self._done:
            history = self._mlflow.tracking.MlflowClient().get_metric_history(self.id, name)
            self._done[name] = max((one.step for one in history), default=-1)
        return self._done[name]

    def close(self) -> None:
        self._mlflow.end_run()


def _imported(package: str, hook: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"hooks: {hook} needs the package {package}: pip install {package} ({error})") from error
