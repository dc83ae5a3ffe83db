"""`MixedDataSet`: images labelled by people, and among them a share of images labelled by a model."""

import logging
from dataclasses import replace

import numpy as np

from ppdet_ext.data.splits.selection import keep_empty
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host.registry import register_dataset
from ppdet_ext.structures import Record

from .base import InstanceDataSet

logger = logging.getLogger("ppdet_ext")


@register_dataset
class MixedDataSet(InstanceDataSet):
    """A labelled data set, followed by pseudo-labelled images; which ones is the same in every epoch.

    Image ids of the labelled images stay, those of the others go on after the highest of them.

    Args:
        labelled: a data set.
        pseudo: a data set of the same classes, as of tools/pseudo_label.py; none of its images may be in `labelled`. Where ids
            or order differ, the names decide; labels are those of `labelled`.
        ratio: share of pseudo-labelled images among all images of the mix, in [0, 1), chosen by name and `seed`; None takes
            all there are.
        seed: of that choice.
    """

    def __init__(self, labelled: InstanceDataSet, pseudo: InstanceDataSet, ratio: float | None = None, seed: int = 0):
        super().__init__()
        for key, part in (("labelled", labelled), ("pseudo", pseudo)):
            if not isinstance(part, InstanceDataSet) or isinstance(part, MixedDataSet):
                raise UserError(f"{key}: {part!r} is no data set that can be mixed; give one, such as !SteelDataSet {{…}}.")
        if ratio is not None and not 0 <= ratio < 1:
            raise UserError(f"ratio: {ratio} is not a share of all images; it is at least 0 and less than 1.")
        self.labelled, self.pseudo, self.ratio, self.seed = labelled, pseudo, ratio, seed

    @property
    def annotated(self) -> bool:
        return self.labelled.annotated and self.pseudo.annotated

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return self.labelled.class_names

    @property
    def category_ids(self) -> list[int]:  # type: ignore[override]
        return self.labelled.category_ids

    @property
    def first_pseudo(self) -> int:
        """Index of the first pseudo-labelled image."""
        return len(self.labelled.records)

    def _read(self) -> list[Record]:
        labelled, pseudo = self.labelled.records, self.pseudo.records
        if not self.annotated:
            raise UserError("MixedDataSet: labelled and pseudo both need annotations; give each an anno_path.")
        pseudo = self._by_names(pseudo)
        known = {record.name for record in labelled}
        both = [record.name for record in pseudo if record.name in known]
        if both:
            raise UserError(
                f"MixedDataSet: {counted(len(both), 'images')} both in labelled and in pseudo: {', '.join(both[:10])}"
                f"{', …' if len(both) > 10 else ''}. Take them out of one of them."
            )
        self._warn_of_unnamed(pseudo)
        first = max(record.im_id for record in labelled) + 1
        names = self._chosen([record.name for record in pseudo], len(labelled))
        taken = [replace(record, im_id=first + record.im_id) for record in pseudo if record.name in names]
        logger.info(
            "mixed: %d labelled and %d of %d pseudo-labelled images (%.1f %% of all)",
            len(labelled),
            len(taken),
            len(pseudo),
            100 * len(taken) / (len(labelled) + len(taken)),
        )
        return [*labelled, *taken]

    def _chosen(self, names: list[str], labelled: int) -> set[str]:
        if self.ratio is None:
            return set(names)
        wanted = int(labelled * self.ratio / (1 - self.ratio))
        if wanted > len(names):
            logger.warning(
                "mixed: ratio %g asks for %d pseudo-labelled images beside %d labelled ones; there are %d, and all are taken",
                self.ratio,
                wanted,
                labelled,
                len(names),
            )
        return keep_empty(names, labelled, self.ratio, self.seed)

    def _by_names(self, pseudo: list[Record]) -> list[Record]:
        """The records with the labels that their classes have in `labelled`. Raises: UserError for other names."""
        one, other = (list(zip(part.category_ids, part.class_names)) for part in (self.labelled, self.pseudo))
        if one == other:
            return pseudo
        ours, theirs = ([name for _, name in classes] for classes in (one, other))
        if len(set(ours)) < len(ours) or sorted(ours) != sorted(theirs):
            shown = " and ".join(
                ", ".join(f"{number} {name}" for number, name in classes if (number, name) not in rest) or "none more"
                for classes, rest in ((one, other), (other, one))
            )
            raise UserError(f"MixedDataSet: labelled and pseudo have other classes (differing: {shown}).")
        logger.warning("mixed: labelled and pseudo have the same classes with other ids or in another order; the names decide")
        label_of = np.array([ours.index(name) for name in theirs], np.int64)
        return [replace(record, labels=label_of[record.labels]) for record in pseudo]

    def _warn_of_unnamed(self, pseudo: list[Record]) -> None:
        """Images that the tool left out as doubtful must not come back as clean ones from the image folder."""
        empty = sum(not record.masks for record in pseudo)
        if empty and getattr(self.pseudo, "split", "") is None:
            logger.warning(
                "mixed: %d of %d pseudo-labelled images have no object, perhaps only because no label names them; "
                "set `split` of pseudo to its own CSV to use no others, or `allow_empty: false`",
                empty,
                len(pseudo),
            )
