"""What every data set of this package offers, whatever its files look like."""

from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.structures import Record

ON_ERROR = ("error", "skip")


class InstanceDataSet:
    """A list of `Record`s that is read once, on `load()`.

    Subclasses take explicit arguments, keep each under its own name (ppdet writes them back to YAML), do no work in
    the constructor, implement `_read() -> list[Record]`, and have `class_names` and `category_ids`.
    """

    class_names: list[str]
    category_ids: list[int]

    def __init__(self) -> None:
        self._records: list[Record] | None = None

    def load(self) -> "InstanceDataSet":
        """Read the annotations; a second call does nothing. Raises: UserError naming what is wrong with them."""
        if self._records is None:
            self._records = self._read()
        return self

    parse_dataset = load

    @property
    def records(self) -> list[Record]:
        self.load()
        return self._records

    @property
    def annotated(self) -> bool:
        """Whether there are annotations at all, so that one can train on it."""
        return True

    @property
    def num_classes(self) -> int:
        return len(self.category_ids)

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, index: int, targets: bool = True) -> Sample:
        """The undecoded sample of image `index`; without annotations where `targets` is false."""
        return sample_of(self.records[index], targets)

    def _read(self) -> list[Record]:
        raise NotImplementedError
