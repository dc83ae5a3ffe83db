"""Two ranks evaluate as one does, and end together whatever happens to one of them."""

import signal
from pathlib import Path
from typing import Any

import evaluation_cases
import pytest
import two_ranks
from evaluation_cases import BATCH, IMAGES, write_data

from ppdet_ext.errors import UserError
from ppdet_ext.inference.predict import in_order
from ppdet_ext.structures import Record

BATCHES = -(-IMAGES // BATCH)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def ranks(data: Path) -> list[dict[str, Any]]:
    """What `evaluation_cases.CASES` gave on each rank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(evaluation_cases.FOLDER, str(data))
        return two_ranks.results(two_ranks.start(data, "evaluation_cases"), data)


@pytest.fixture
def one(data: Path, monkeypatch: pytest.MonkeyPatch):
    """Evaluation on one rank, here."""
    monkeypatch.setenv(evaluation_cases.FOLDER, str(data))
    return evaluation_cases.evaluation


@pytest.mark.parametrize(
    ("case", "images"),
    [("no workers", IMAGES), ("two workers", IMAGES), ("two batches", 3), ("one batch", 2), ("in order again", IMAGES)],
)
def test_the_24_numbers_are_those_of_one_rank(ranks, one, case: str, images: int) -> None:
    alone = one(images=images)
    (numbers, count, seconds, elsewhere), second = (rank[case] for rank in ranks)
    assert numbers == alone.numbers
    assert count == alone.images == images
    assert second == (numbers, count, seconds, True)
    assert not elsewhere


def test_the_24_numbers_are_no_matter_of_course(one) -> None:
    alone = one()
    values = alone.numbers["bbox"] + alone.numbers["segm"]
    assert len(values) == 24
    assert 0.2 < alone.numbers["bbox"][0] < 0.8
    # What is padded together matters.
    assert one(batch_size=3).numbers != alone.numbers


@pytest.mark.parametrize(
    ("case", "rank", "own", "others"),
    [
        ("UserError", 1, ("UserError", "no such thing"), ("UserError", "rank 1: no such thing")),
        (
            "DivergenceError",
            1,
            ("DivergenceError", "boxes are NaN (images: 10.jpg, 11.jpg)"),
            ("DivergenceError", "rank 1: boxes are NaN (images: 10.jpg, 11.jpg)"),
        ),
        ("another error", 1, ("KeyError", "'lost'"), ("RuntimeError", "rank 1: KeyError: 'lost'")),
        ("error on rank 0", 0, ("UserError", "no such thing"), ("UserError", "rank 0: no such thing")),
    ],
)
def test_an_error_on_one_rank_ends_both(ranks, case: str, rank: int, own: tuple, others: tuple) -> None:
    assert ranks[rank][case] == (*own, 2)
    assert ranks[1 - rank][case] == (*others, len(range(1 - rank, BATCHES, 2)))


def test_a_broken_image_on_one_rank_is_named_by_both(ranks) -> None:
    kind, text = ranks[1]["broken image"]
    assert kind == "UserError"
    assert "02.cut.jpg: the JPEG is truncated" in text
    assert ranks[0]["broken image"] == (kind, f"rank 1: {text}")


def test_a_dead_worker_is_named_with_its_rank_by_both(ranks) -> None:
    kind, text = ranks[1]["dead worker"]
    assert kind == "WorkerDied"
    assert text.startswith("data worker 0 died (exit code -9")
    assert text.endswith("on rank 1 of 2.")
    assert ranks[0]["dead worker"] == (kind, text)


@pytest.mark.parametrize(("case", "signum", "rank"), [("SIGUSR1", signal.SIGUSR1, 1), ("SIGTERM", signal.SIGTERM, 0)])
def test_a_signal_to_one_rank_stops_both(ranks, case: str, signum: int, rank: int) -> None:
    assert ranks[rank][case] == ("Stop", str(int(signum)), 1)
    assert ranks[1 - rank][case][:2] == ("Stop", str(int(signum)))


def test_images_missing_or_predicted_twice_are_named(ranks) -> None:
    for rank in ranks:
        kind, text = rank["missing"]
        assert kind == "UserError"
        assert "Of 21 images, 6 were not predicted once: 04.jpg (id 5) by none; 05.jpg (id 6) by none; 10.jpg" in text
        assert "The ranks (2) predicted 8, 7 images; all of them must read the same data set." in text
        kind, text = rank["twice"]
        assert "00.jpg (id 1) by ranks 0, 1" in text
        assert "02.jpg (id 3) by none" in text
    assert ranks[1]["missing"][1] == f"rank 0: {ranks[0]['missing'][1]}"


def test_an_error_in_the_metrics_ends_both(ranks) -> None:
    kind, text = ranks[0]["error in metrics"]
    assert kind == "UserError"
    assert "predicted label 1 of a model with another number of classes" in text
    assert ranks[1]["error in metrics"] == (kind, f"rank 0: {text}")


def test_batch_norm_is_evaluated_with_the_statistics_of_rank_0(ranks) -> None:
    assert [rank["statistics"] for rank in ranks] == [{"mean": [10.0]}] * 2


def test_results_come_into_the_order_of_the_data_set() -> None:
    records = [Record(im_id, "", f"{im_id}.jpg", 1, 1) for im_id in (5, 2, 9)]
    assert in_order(records, [[(9, "c")], [], [(2, "b"), (5, "a")]]) == [(5, "a"), (2, "b"), (9, "c")]
    with pytest.raises(
        UserError, match=r"Of 3 images, 2 were not predicted once: 9.jpg \(id 9\) by none; unknown \(id 4\) by r"
    ):
        in_order(records, [[(5, "a")], [(2, "b"), (4, "d")]])
