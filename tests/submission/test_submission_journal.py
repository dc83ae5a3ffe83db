"""The journal of a submission: what is torn does not count, what is of another run is set aside and may come back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from submission_cases import found, plain

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle
from ppdet_ext.submission import Journal, NamedDetections

HEADER = {"weights": ["1f"], "threshold": 0.1, "images": "2e"}
SOURCES = {name: (4, 5, 100 + number) for number, name in enumerate(["a.jpg", "ä b.jpg", "c.jpg"])}
IDS = [3, 0, -1]
RESULTS = [
    found("a.jpg", [(3, 0.1 + 0.2, Rle.full(4, 5), (7, 1)), (0, 1.0, Rle.from_kaggle("2 3", 4, 5))], IDS),
    found("ä b.jpg", [], IDS, (4, 5)),
    found("c.jpg", [(-1, 1e-9, Rle.from_kaggle("1 1 7 2", 9, 1))], IDS),
]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "s.csv.progress").mkdir()
    return Journal(tmp_path / "s.csv.progress", HEADER, SOURCES, IDS)


def write(journal: Journal, rank: int, *results: NamedDetections) -> None:
    with journal.writer(rank) as writer:
        for result in results:
            writer.add(*result)


def test_results_come_back_in_any_order_from_all_ranks(journal: Journal) -> None:
    write(journal, 0, RESULTS[0])
    write(journal, 10, RESULTS[1])
    write(journal, 0, RESULTS[2])
    assert list(map(plain, journal.read(["c.jpg", "a.jpg", "ä b.jpg"]))) == list(
        map(plain, [RESULTS[2], RESULTS[0], RESULTS[1]])
    )
    assert set(journal.index()) == {"a.jpg", "ä b.jpg", "c.jpg"}
    assert journal.differences() == []
    with pytest.raises(KeyError):
        list(journal.read(["d.jpg"]))
    journal.remove()
    assert not journal.folder.exists()


def test_an_image_is_on_disk_as_soon_as_it_is_done(journal: Journal) -> None:
    with journal.writer(0) as writer:
        for number, result in enumerate(RESULTS, 1):
            writer.add(*result)
            assert len(journal.index()) == number


def test_cut_anywhere_it_goes_on(journal: Journal) -> None:
    write(journal, 0, *RESULTS)
    path = journal.folder / "rank_0.jsonl"
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        done = max(0, sum(end <= length for end in ends) - 1)
        assert list(journal.index()) == [name for name, _ in RESULTS[:done]]
        assert journal.differences() == []
        write(journal, 0, *RESULTS[done:])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("garbage", [b"\0\0\0\n", b"[1]\n", b'{"a": 1}\n', b'{"image": 5}\n', b"\xff\xfe\n"])
def test_lines_after_a_damaged_one_do_not_count(journal: Journal, garbage: bytes) -> None:
    write(journal, 0, RESULTS[0])
    path = journal.folder / "rank_0.jsonl"
    rest = path.read_bytes().splitlines(keepends=True)[1]
    path.write_bytes(path.read_bytes() + garbage + rest.replace(b"a.jpg", b"z.jpg"))
    assert list(journal.index()) == ["a.jpg"]
    write(journal, 0, RESULTS[2])
    assert list(journal.index()) == ["a.jpg", "c.jpg"]


def test_another_header_is_told_set_aside_and_taken_back(journal: Journal) -> None:
    write(journal, 0, RESULTS[0])
    write(journal, 1, RESULTS[1])
    other = Journal(journal.folder, {**HEADER, "threshold": 0.2, "version": 2}, SOURCES, IDS)
    assert other.differences() == ["threshold", "version"]
    kept = other.set_aside()
    assert kept.name == "s.csv.progress.earlier_1"
    assert list(other.index()) == other.differences() == []
    assert other.take_back() is None
    assert list(map(plain, Journal(kept, HEADER, SOURCES, IDS).read(["a.jpg", "ä b.jpg"]))) == list(map(plain, RESULTS[:2]))
    write(other, 0, RESULTS[2])

    assert journal.differences() == ["threshold", "version"]
    assert journal.set_aside().name == "s.csv.progress.earlier_2"
    assert journal.take_back() == kept
    assert not kept.exists()
    assert list(map(plain, journal.read(["a.jpg", "ä b.jpg"]))) == list(map(plain, RESULTS[:2]))
    assert journal.take_back() is None
    assert other.set_aside().name == "s.csv.progress.earlier_3"
    assert other.take_back().name == "s.csv.progress.earlier_2"
    assert list(other.index()) == ["c.jpg"]


def test_what_was_set_aside_stays_where_something_is_done(journal: Journal) -> None:
    write(journal, 0, RESULTS[0])
    kept = journal.set_aside()
    write(journal, 0, RESULTS[1])
    assert journal.take_back() is None
    assert list(Journal(kept, HEADER, SOURCES, IDS).index()) == ["a.jpg"]
    # A run that was killed before its first image has written a header, if anything.
    (journal.folder / "rank_0.jsonl").write_bytes(b'{"hea')
    assert journal.take_back() == kept
    assert list(journal.index()) == ["a.jpg"]


def test_only_images_whose_files_have_changed_do_not_count(journal: Journal) -> None:
    write(journal, 0, *RESULTS)
    mended = Journal(journal.folder, HEADER, {**SOURCES, "ä b.jpg": (4, 5, 99)}, IDS)
    assert mended.differences() == []
    assert list(mended.index()) == ["a.jpg", "c.jpg"]
    assert mended.outdated() == ["ä b.jpg"]
    again = "ä b.jpg", RESULTS[0][1]
    write(mended, 0, again)
    assert mended.outdated() == []
    assert list(map(plain, mended.read(["a.jpg", "ä b.jpg", "c.jpg"]))) == list(map(plain, [RESULTS[0], again, RESULTS[2]]))
    assert journal.outdated() == []


def test_a_full_disk_is_said_and_what_is_done_stays(journal: Journal) -> None:
    with journal.writer(0) as writer:
        writer.add(*RESULTS[0])
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._stream.fileno())
        os.close(full)
        with pytest.raises(UserError, match=r"rank_0\.jsonl: No space left on device.*the same command goes on"):
            writer.add(*RESULTS[1])
    assert list(journal.index()) == ["a.jpg"]
    write(journal, 0, RESULTS[1])
    assert list(map(plain, journal.read(["a.jpg", "ä b.jpg"]))) == list(map(plain, RESULTS[:2]))


def test_a_foreign_file_does_not_hinder_removal(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    write(journal, 0, RESULTS[0])
    (journal.folder / ".nfs0001").write_text("")
    journal.remove()
    assert [path.name for path in journal.folder.iterdir()] == [".nfs0001"]
    assert "s.csv.progress stays, with .nfs0001 in it: Directory not empty" in caplog.text
    (journal.folder / ".nfs0001").unlink()
    journal.remove()
    assert not journal.folder.exists()
    journal.remove()


def test_kill_9_in_the_midst_of_writing(journal: Journal) -> None:
    """A process that writes for ever is killed at any moment: all it has said it has done remains, and the next one goes on."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ppdet_ext.submission import Journal\n"
        "from ppdet_ext.structures import Detections, Rle\n"
        "sources = {'a.jpg': (4, 5, 100), **{str(i): (300, 200, i) for i in range(100000)}}\n"
        f"journal = Journal(Path(sys.argv[1]), {HEADER!r}, sources, [1])\n"
        "mask = Rle.from_kaggle(' '.join(f'{i} 1' for i in range(1, 60000, 2)), 300, 200)\n"
        "number = len(journal.index())\n"
        "with journal.writer(0) as writer:\n"
        "    while True:\n"
        "        writer.add(str(number), Detections.of_masks(300, 200, [mask], [0], [0.5]))\n"
        "        number += 1\n"
        "        print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(journal.folder)], stdout=subprocess.PIPE, text=True)
    while (line := process.stdout.readline()) and int(line) < 5:
        continue
    os.kill(process.pid, signal.SIGKILL)
    said = [line, *process.stdout.read().splitlines()]
    process.wait(60)
    process.stdout.close()
    journal.class_ids = [1, *IDS]
    journal.sources = SOURCES | {str(i): (300, 200, i) for i in range(100000)}
    names = list(journal.index())
    assert names == [str(number) for number in range(len(names))]
    assert len(names) >= int(said[-1]) >= 5
    write(journal, 0, RESULTS[0])
    *before, last = journal.read([*names, "a.jpg"])
    assert plain(last) == plain(RESULTS[0])
    assert {detections.masks[0].area for _, detections in before} == {30000}
