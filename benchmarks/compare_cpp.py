"""The example in C++ beside the runtime in Python, in one run: the same objects? Milliseconds, start, CPU seconds, memory.

    python benchmarks/compare_cpp.py --program build/cpp/detect --folder exported/steel --pictures sheets [--repeats 3]

Both read each picture from its file, find all objects down to score 0 and paste their masks. Milliseconds are the median of all
pictures but the first of a process; `start` is from its start to its first result. Processes take turns, and of so many of each
the middle one counts. CPU seconds are a process's, divided by its pictures; the example's draw and write them, too. `--threads`
are Python's; the example's are `kThreads` in its source. Needs the extra `runtime`.
"""

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
COLUMNS = ("picture", "class", "score", "x1", "y1", "x2", "y2", "area")
SUFFIXES = (".jpg", ".jpeg", ".png")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the example, built")
    parser.add_argument("--folder", type=Path, required=True, help="the exported detector")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(folder: Path, files: list[str], threads: int) -> None:
    """What the example prints, by the runtime: a table, and a line a picture beside it."""
    from ppdet_ext.runtime.predictor import Predictor  # as of ppdet_ext where there is no Paddle

    predictor = Predictor(folder, threads=threads)
    print(*COLUMNS, sep="\t")
    for file in files:
        begin = time.perf_counter()
        found = predictor.predict(file)
        print(f"{file}: {len(found)} found, {1000 * (time.perf_counter() - begin):.0f} ms", file=sys.stderr, flush=True)
        for name, score, box, mask in zip(found.class_names, found.scores, found.boxes, found.masks or ()):
            print(found.name, name, score, *box, mask.area, sep="\t")


def run(command: list[str], threads: int) -> dict[str, Any]:
    """A process: its table, its times, its memory."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as table:
        begin = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        child = subprocess.Popen(command, stdout=table, stderr=subprocess.PIPE, text=True, env=environment)
        taken, start = [], 0.0
        for line in child.stderr or ():
            if found := re.search(r", (\d+) ms$", line):
                start = start or time.perf_counter() - begin
                taken.append(int(found[1]))
            else:
                print(line, end="", file=sys.stderr)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{command[0]} failed")
        table.seek(0)
        rows = list(csv.DictReader(table, delimiter="\t"))
    seconds = (used.ru_utime + used.ru_stime) / len(taken)
    return {"rows": rows, "ms": statistics.median(taken[1:]), "start": start, "cpu": seconds, "peak": used.ru_maxrss / 1024}


def compare(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> str:
    """Both tables, row by row, in words."""
    if [row["picture"] + row["class"] for row in ours] != [row["picture"] + row["class"] for row in theirs]:
        return f"Other objects: {len(ours)} of C++, {len(theirs)} of Python, or in another order."
    numbers = [np.array([[float(row[key]) for key in COLUMNS[2:]] for row in rows]) for rows in (ours, theirs)]
    apart = np.abs(numbers[0] - numbers[1])
    scores, boxes, areas = apart[:, 0], apart[:, 1:5], apart[:, 5]
    return (
        f"{len(ours)} objects, the same pictures and classes; scores within {scores.max():.1e}, boxes within "
        f"{boxes.max():.1e} px; areas the same of {(areas == 0).sum()}, apart by {areas.max():.0f} px at most."
    )


def main() -> None:
    args = parse_args()
    files = sorted(str(path) for path in args.pictures.iterdir() if path.suffix.lower() in SUFFIXES)
    if args.worker:
        return work(args.folder, files, args.threads)
    same = [
        "--program",
        str(args.program),
        "--folder",
        str(args.folder),
        "--pictures",
        str(args.pictures),
        "--threads",
        str(args.threads),
    ]
    with tempfile.TemporaryDirectory() as output:
        commands = {
            "C++": [str(args.program.resolve()), str(args.folder), "0", output, *files],
            "Python": [sys.executable, __file__, "--worker", *same],
        }
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for _ in range(args.repeats):
            for name, command in commands.items():
                runs[name].append(run(command, args.threads))
    print(compare(runs["C++"][0]["rows"], runs["Python"][0]["rows"]))
    print("| | ms a picture | CPU s a picture | start, s | peak, MB |\n|---|---|---|---|---|")
    for name, all_of in runs.items():
        ms, cpu, start, peak = (statistics.median(one[key] for one in all_of) for key in ("ms", "cpu", "start", "peak"))
        print(f"| {name} | {ms:.0f} | {cpu:.2f} | {start:.2f} | {peak:.0f} |")
    return None


if __name__ == "__main__":
    main()
