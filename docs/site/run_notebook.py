"""Runs a notebook's cells in this process, without Jupyter: python docs/site/run_notebook.py docs/tutorial.ipynb [--write]

Code cells share one namespace, as in a kernel. The cell tagged "parameters" may be followed by other values; cells tagged
"skip-test" are left out. With --write, what cells print and show is put into the file.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 800  # px, of pictures in the file
LONGEST = 8  # lines that a cell may have printed


def run(notebook: Path, parameters: dict[str, Any] | None = None, *, write: bool = False) -> dict[str, Any]:
    """Run all cells; returns the namespace they leave. parameters: names and values that go before the notebook's own."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in content["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "skip-test" in tags:
            continue
        count += 1
        said, value = _cell("".join(cell["source"]), names)
        if "parameters" in tags:
            names |= parameters or {}
        cell["execution_count"] = count
        cell["outputs"] = _outputs(said, value, count)
    if write:
        notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return names


def _cell(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """(what a cell prints, the value of its last expression)."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "<cell>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    # Whoever runs it works in another folder.
    return said.getvalue().replace(f"{Path.cwd()}/", ""), value


def _outputs(said: str, value: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if said:
        lines = said.splitlines(keepends=True)
        said = said if len(lines) <= LONGEST else "".join(["…\n", *lines[-LONGEST:]])
        found.append({"name": "stdout", "output_type": "stream", "text": said.splitlines(keepends=True)})
    if value is not None:
        data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "save") and hasattr(value, "convert"):
            data = {"image/jpeg": _jpeg(value), "text/plain": [f"<picture of {value.width} x {value.height} px>"]}
        found.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return found


def _jpeg(picture: Any) -> str:
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=75)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run a notebook's cells.")
    parser.add_argument("notebook", type=Path, help="an .ipynb file")
    parser.add_argument("--write", action="store_true", help="put the outputs into the file")
    flags = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    run(flags.notebook.resolve(), write=flags.write)
