"""Text files as users have them: in another encoding, packed, or a pointer to the file that was meant."""

import codecs
import os

from ppdet_ext.errors import UserError

_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How files begin that are no text, and what to do about them.
_OTHER_FILES = {
    b"\x1f\x8b": "is packed by gzip. Unpack it (gzip -d)",
    b"PK\x03\x04": "is a ZIP archive. Unpack it; Kaggle's tool packs single files, too",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive. Unpack it",
    b"BZh": "is packed by bzip2. Unpack it",
    b"\xfd7zXZ\0": "is packed by xz. Unpack it",
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself. Fetch that: git lfs pull",
    b"<!DOCTYPE html": "is a web page, such as a login or an error. Fetch the file again, logged in",
    b"Rar!": "is a RAR archive. Unpack it",
    b"\x28\xb5\x2f\xfd": "is packed by zstd. Unpack it",
    b"<?xml": "is XML, another format. If it is a label tool's, tools/import_labels.py reads it",
    b"\x80\x02": "is a pickle of Python, which is not read. Save it as text",
    b"\x80\x03": "is a pickle of Python, which is not read. Save it as text",
    b"\x80\x04": "is a pickle of Python, which is not read. Save it as text",
    b"\x80\x05": "is a pickle of Python, which is not read. Save it as text",
    b"<html": "is a web page, such as a login or an error. Fetch the file again, logged in",
}
SAVE_AS_UTF8 = "Save it as UTF-8: iconv -f GBK -t UTF-8 (or what your system writes) does it."


def refuse_other_files(path: str, start: bytes) -> None:
    """Raises: UserError where a file's first bytes are those of an archive, a pointer or a web page."""
    for beginning, told in _OTHER_FILES.items():
        if start.lstrip().lower().startswith(beginning.lower()):
            raise UserError(f"{path}: {told}.")


def encoding_of(start: bytes) -> str:
    """Python's name of a text file's encoding, by the mark in its first four bytes; UTF-8 without one."""
    return next((name for mark, name in _ENCODINGS.items() if start.startswith(mark)), "utf-8")


def check_text(path: str) -> str:
    """The encoding of a text file. Raises: UserError for a file that is packed or a pointer; OSError as `open`."""
    with open(path, "rb") as file:
        start = file.read(64)
    refuse_other_files(path, start)
    return encoding_of(start)


def read_text(path: str) -> str:
    """The whole of a text file in UTF-8, or in UTF-16 or -32 with a mark of it.

    Raises: UserError when it cannot be read, is packed, or is in another encoding.
    """
    try:
        encoding = check_text(path)
        with open(path, encoding=encoding) as file:
            text = file.read()
        if "\0" in text[:64]:
            raise UserError(f"{path}: holds zero bytes, as binary files and UTF-16 without a mark do. {SAVE_AS_UTF8}")
        return text
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({os.strerror(fault.errno or 0)}).") from None
    except UnicodeError:
        raise not_utf8(path) from None


def not_utf8(path: str) -> UserError:
    """The error for text of another encoding."""
    return UserError(f"{path}: is not in UTF-8. {SAVE_AS_UTF8}")
