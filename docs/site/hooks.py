"""What MkDocs does not do by itself: pages outside of docs/, notebooks, GitHub's anchors and lists, links to code."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Page of the repository -> its place in the site.
OUTSIDE = {
    **{name: f"outside/{name}" for name in ("README.md", "README_cn.md", "CONTRIBUTING.md", "MODEL_ZOO.md", "CHANGELOG.md")},
    "dataset/README.md": "outside/dataset.md",
}
_FENCE = re.compile(r"^\s*(?:\d+\. )?```")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"^(?:[-*] |\d+\. )")


def github_anchor(heading: str, separator: str = "-") -> str:
    """The anchor that GitHub gives a heading; `separator` is what MkDocs asks for, and GitHub's own."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Anchors as on GitHub, so that one link serves both."""
    config["mdx_configs"].setdefault("toc", {})["slugify"] = github_anchor
    return config


def on_files(files: Any, config: Any) -> Any:
    """The pages outside of docs/, and each notebook as a page of its name."""
    from mkdocs.structure.files import File

    for source, place in OUTSIDE.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        files.append(File.generated(config, f"{notebook.stem}.md", content=page_of(notebook)))
        files.remove(files.get_file_from_path(notebook.name))
    return files


def page_of(notebook: Path) -> str:
    """The Markdown of a notebook's cells: text, code, and the text of outputs."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        shell = text.lstrip().startswith(("!", "%"))
        parts.append(f"```{'bash' if shell else 'python'}\n{text}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/jpeg" in data:
                parts.append(f"![What the cell shows](data:image/jpeg;base64,{data['image/jpeg']})")
            elif said := output.get("text") or data.get("text/plain"):
                parts.append("```text\n" + "".join(said).rstrip() + "\n```")
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links of the repository as links of the site; a blank line before each list, which MkDocs wants and GitHub does not."""
    here = page.file.src_uri
    source = next((name for name, place in OUTSIDE.items() if place == here), f"docs/{here}")
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            before = lines[-1] if lines else ""
            if _ITEM.match(line) and before.strip() and not _ITEM.match(before) and not before.startswith("  "):
                lines.append("")
            line = _LINK.sub(lambda found: _link(found, source, here), line)
        lines.append(line)
    return "\n".join(lines)


def _link(found: re.Match[str], source: str, here: str) -> str:
    picture, text, target = found.groups()
    text = _LINK.sub(lambda inner: _link(inner, source, here), text)
    name, _, anchor = target.partition("#")
    if "://" in target or not name:
        return f"{picture}[{text}]({target})"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
    place = OUTSIDE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if place is None:
        # Code and configurations are no part of the site.
        return text if "`" in text else f"{text} (`{path}`)"
    place = re.sub(r"\.ipynb$", ".md", place)
    relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
    return f"{picture}[{text}]({relative}{'#' if anchor else ''}{anchor})"
