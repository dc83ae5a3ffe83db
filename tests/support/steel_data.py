"""Severstal's data set over a folder of tiny sheets."""

from pathlib import Path

from tiny_data import HEIGHT, WIDTH

from ppdet_ext.data.datasets import SteelDataSet


def opened(folder: Path, **options) -> SteelDataSet:
    return SteelDataSet(str(folder), **{"height": HEIGHT, "width": WIDTH, **options}).load()


def names(dataset: SteelDataSet) -> list[str]:
    return [record.name for record in dataset.records]
