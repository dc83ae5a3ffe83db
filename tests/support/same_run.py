"""Whether two runs left the same behind, to the last bit."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

# They name the command and the moment; the log has a line for each start, too.
IGNORED = {"environment.json", "train.log"}


def files_of(folder: Path) -> dict[str, Path]:
    """Relative name -> path of every file below `folder`, hidden ones too."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in IGNORED)
    return {str(path.relative_to(folder)): path for path in paths}


def differences(expected: Path, found: Path) -> list[str]:
    """What two runs' folders differ in, a line per file; empty if they hold the same.

    Weights and optimizer states are compared by the bytes of their arrays, as pickles number tensors by the process's
    count of them; manifests without the hashes of those files; all else by its bytes.
    """
    before, now = files_of(expected), files_of(found)
    lines = [f"{name}: missing" for name in before if name not in now]
    lines += [f"{name}: additional" for name in now if name not in before]
    for name in before.keys() & now.keys():
        if before[name].read_bytes() != now[name].read_bytes():
            lines += [f"{name}: {text}" for text in _explain(before[name], now[name])]
    return sorted(lines)


def _explain(before: Path, now: Path) -> list[str]:
    """What differs in two files of unequal bytes; nothing for two pickles or manifests of the same content."""
    if before.suffix.startswith(".pd"):
        arrays = [dict(_leaves(paddle.load(str(path), return_numpy=True))) for path in (before, now)]
        keys = [key for key in {**arrays[0], **arrays[1]} if not _same(arrays[0].get(key), arrays[1].get(key))]
        return [f"{len(keys)} of {len(arrays[0])} entries, first {keys[0]}"] if keys else []
    if before.name == "manifest.json":
        manifests = [json.loads(path.read_text()) for path in (before, now)]
        for manifest in manifests:
            manifest.pop("sha256", None)
            manifest["files"] = {name: {} if ".pd" in name else entry for name, entry in manifest["files"].items()}
        texts = [json.dumps(manifest, indent=1).splitlines() for manifest in manifests]
    else:
        texts = [path.read_text(errors="replace").splitlines() for path in (before, now)]
    changed = [line for line in difflib.unified_diff(*texts, n=0, lineterm="") if line[:2] not in ("--", "++", "@@")]
    return ["; ".join(line[:160] for line in changed[:4])] if changed or before.name != "manifest.json" else []


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}")
    else:
        yield path, value


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, np.ndarray) and isinstance(now, np.ndarray):
        return (before.dtype, before.shape, before.tobytes()) == (now.dtype, now.shape, now.tobytes())
    return type(before) is type(now) and before == now
