"""What mkdocs does beyond its own: pages from outside docs/, and those that code writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

from commands import commands_page
from mkdocs.structure.files import File, Files
from notebooks import notebook_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    f"{name}.md": f"{name.lower()}.md"
    for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")
}
"""Pages that stand beside docs/, and what they are called on the site."""

LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
COMMANDS = "<!-- the commands -->"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand beside docs/, and the notebooks as pages."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text("utf-8")))
    for path in sorted((ROOT / "docs").glob("notebooks/*.ipynb")):
        text = notebook_page(json.loads(path.read_text("utf-8")))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Write the reference of the commands, and lead links out of docs/ to what the site has."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, commands_page())
    here = page.file.src_uri
    beside = {page: path for path, page in PAGES.items()}
    place = beside.get(here, f"docs/{here}")

    def lead(match: re.Match[str]) -> str:
        target = normpath(f"{dirname(place)}/{match[0]}").lstrip("/")
        if not (ROOT / target).is_file():
            return match[0]
        found = _on_site(target, config, files)
        return relpath(found, dirname(here) or ".")

    return LINK.sub(lead, markdown)


def _on_site(target: str, config: Any, files: Files) -> str:
    """Return where the site has a file of the repository; one that it lacks is added to it."""
    if target in PAGES:
        return PAGES[target]
    if target.startswith("docs/"):
        found = target.removeprefix("docs/")
        return f"{found.removesuffix('.ipynb')}.md" if found.endswith(".ipynb") else found
    found = f"source/{target}"
    if files.get_file_from_path(found) is None:
        files.append(File.generated(config, found, abs_src_path=str(ROOT / target)))
    return found
