"""Steps that leave classes out: always, or where a classifier of whole images finds them improbable."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import number_in, register_step
from ppdet_ext.structures import Candidates, Detections

from .base import ImageContext, PerClass, Step, label_of, per_class
from .gate_file import GateFile


@register_step
class DropClasses(Step):
    """Drops everything of the classes of these names or category ids.

    classes: names, or category ids.
    """

    def __init__(self, classes: list) -> None:
        """UserError unless it is a list."""
        if not isinstance(classes, list | tuple):
            raise UserError(f"DropClasses.classes: {classes!r} is no list of class names or ids.")
        self.classes = classes

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._labels = [label_of(name, class_names, category_ids, "DropClasses.classes") for name in self.classes]

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        return detections.select(~np.isin(detections.labels, self._labels))


class Gate(Step):
    """Base of steps that go by the probabilities of a classifier: of a file, or without one of the model that predicts.

    file: a CSV with the columns ImageId (file name, with or without its suffix) and a probability for classes by name or
        category id, `any` for "there is anything at all". None: `ImageContext.presence`.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self._gate_file: GateFile | None = None
        self.needs_presence = file is None

    def read(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Read the file, if there is one. UserError for what is wrong with it."""
        if self.file is not None:
            self._gate_file = GateFile.read(self.file, class_names, category_ids, type(self).__name__)
        self._classes = len(class_names)

    def check_names(self, names: Sequence[str]) -> None:
        if self._gate_file is not None:
            self._gate_file.check_names(names, type(self).__name__)

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        return self.apply(detections, ImageContext(name, getattr(detections, "presence", None)))

    def probabilities(self, image: ImageContext) -> tuple[np.ndarray, float]:
        """(classes,) float64, NaN of classes that nobody tells of; and of anything at all, NaN likewise.

        Raises: UserError where there is neither a file nor a classifier.
        """
        kind = type(self).__name__
        if self._gate_file is not None:
            self._gate_file.check_names([image.name], kind)
            row = self._gate_file.row(image.name)
            assert row is not None
            return self._gate_file.presence[row], self._gate_file.anything[row]
        if image.presence is None:
            raise UserError(
                f"PostProcess: {kind} has no `file`, and no classifier tells of {image.name}; configure one "
                "(`Classifier: {config: …, weights: …}`), or name a file of probabilities."
            )
        presence = np.asarray(image.presence, np.float64)
        if presence.shape != (self._classes,):
            raise UserError(f"PostProcess: {kind}: the classifier tells of {presence.size} classes, of {self._classes}.")
        return presence, np.nan


@register_step
class ClassifierGate(Gate):
    """Drops the classes that a classifier of whole images finds improbable.

    file: see `Gate`. Classes without a column pass.
    threshold: a class passes where its probability is at least this; by class, 0.5 for one that a mapping does not name.
    any_threshold: everything is dropped where `any` of the file is below this.
    """

    def __init__(self, file: str | None = None, threshold: PerClass = 0.5, any_threshold: float = 0.5) -> None:
        super().__init__(file)
        self.threshold, self.any_threshold = threshold, any_threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Read the file. UserError naming row and column for whatever is wrong with it."""
        self._lowest = per_class(self.threshold, class_names, category_ids, "ClassifierGate.threshold", 0.5, low=0, high=1)
        number_in(self.any_threshold, "ClassifierGate.any_threshold", 0, 1)
        self.read(class_names, category_ids)

    def apply(self, detections: Candidates | Detections, image: ImageContext) -> Candidates | Detections:
        presence, anything = self.probabilities(image)
        # What is NaN is below nothing, and passes.
        passing = ~(presence < self._lowest) & (not anything < self.any_threshold)
        return detections.select(passing[detections.labels])


@register_step
class SoftGate(Gate):
    """`MinArea` that asks for more pixels where a classifier of whole images doubts the class.

    A mask of a class with probability p needs c·area - (c-1)·area·p px of the original image: `area` where p is 1, up to
    c-fold where it is 0. After github.com/khornlund/severstal-steel-defect-detection, whose private score rose from .90612
    to .91023 with c = 5.

    area: as of `MinArea`, classes that a mapping does not name keep all. c_factor: c, 1 or more, by class too.
    file: see `Gate`; classes without a column need `area`.
    """

    takes_masks = True

    def __init__(self, area: PerClass, c_factor: PerClass = 5.0, file: str | None = None) -> None:
        super().__init__(file)
        self.area, self.c_factor = area, c_factor

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Read the file. UserError naming row and column for whatever is wrong with it."""
        self._area = per_class(self.area, class_names, category_ids, "SoftGate.area", 0, low=0)
        self._factor = per_class(self.c_factor, class_names, category_ids, "SoftGate.c_factor", 1, low=1)
        self.read(class_names, category_ids)

    def apply(self, detections: Candidates | Detections, image: ImageContext) -> Detections:
        assert isinstance(detections, Detections)
        presence = np.nan_to_num(self.probabilities(image)[0], nan=1.0)
        wanted = self._area * self._factor - self._area * (self._factor - 1) * presence
        areas = np.array([mask.area for mask in self.masks_of(detections, image.name)], np.int64)
        return detections.select(areas >= wanted[detections.labels])
