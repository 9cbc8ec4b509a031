"""A notebook as a page: its cells in Markdown, with the outputs that it was kept with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return the notebook in Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell)) + "\n"


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    yield _fence("python", source)
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            image = "".join(data["image/png"]).strip()
            yield f"![What the cell draws](data:image/png;base64,{image})"
        elif text := "".join(output.get("text", data.get("text/plain", ""))):
            yield _fence("text", TERMINAL.sub("", text).rstrip())


def _fence(language: str, text: str) -> str:
    return f"````{language}\n{text}\n````"
