"""Which file a path or URL of weights means, and what kind of file it is."""

from pathlib import Path

from ppdet_ext.config.load import resolve_path
from ppdet_ext.errors import UserError, closest
from ppdet_ext.files.download import fetch, is_url

from .files.class_names import Classes
from .files.opening import suffix_by_content
from .files.paddle_file import read_weights_file
from .files.tensor_file import SUFFIXES, open_tensors

SUFFIX = ".pdparams"
PADDLE_SUFFIXES = (SUFFIX, ".pdopt", ".pdema")


def find_weights(path: str | Path, suffix: str = SUFFIX, theirs: bool = False) -> Path:
    """The weights file meant by a path with or without suffix, or by a URL. UserError, with near names, if absent.

    Args:
        path: of the file, or of a checkpoint's folder.
        suffix: of the file.
        theirs: a path that ends in `.pth`, `.pt` or `.safetensors` means that file, of mmdetection; one with another suffix
            a file whose content says what it is (see `of_torch`).
    """
    text = str(path)
    if is_url(text):
        text = str(fetch(text))
    if theirs and Path(text).suffix in SUFFIXES:
        suffix = Path(text).suffix
    if resolve_path(text).is_dir() and (resolve_path(text) / f"model{suffix}").is_file():
        text = str(Path(text) / "model")
    # A folder of SMP's `save_pretrained`, as Hugging Face's hub has it.
    elif theirs and (resolve_path(text) / "model.safetensors").is_file():
        return resolve_path(text) / "model.safetensors"
    stem = text[: -len(Path(text).suffix)] if Path(text).suffix in (SUFFIX, ".pdopt", suffix) else text
    found, literal = resolve_path(stem + suffix), resolve_path(text)
    if found.is_file():
        return found
    if theirs and literal.is_file() and literal.suffix not in PADDLE_SUFFIXES:
        return literal
    raise UserError(f"Weights file {found} does not exist.{_hint(found, suffix)}")


def _hint(missing: Path, suffix: str) -> str:
    """Files of near names, in its folder and those below."""
    folder = missing.parent if missing.parent.is_dir() else missing.parent.parent
    files = [*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}")]
    names = {str(file.relative_to(folder)): file for file in sorted(files)}
    wanted = missing.name if folder == missing.parent else f"{missing.parent.name}/{missing.name}"
    near = closest(wanted, names, 3, 0.3) or list(names)[:3]
    return f" There is: {', '.join(str(names[name]) for name in near)}" if near else ""


def of_torch(file: Path) -> bool:
    """Whether `open_tensors` reads a file: by its suffix, or by content if that is none of ours. UserError if nothing does."""
    known = file.suffix in (*SUFFIXES, *PADDLE_SUFFIXES)
    return (file.suffix if known else suffix_by_content(file)) in SUFFIXES


def stored_classes(path: str | Path) -> Classes | None:
    """Class names that a weights file brings along, or None. UserError as `find_weights`, or if it is damaged."""
    file = find_weights(path, theirs=True)
    if not of_torch(file):
        return read_weights_file(file)[1]
    with open_tensors(file) as opened:
        return opened.classes
