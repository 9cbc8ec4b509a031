"""A torch program is a file from somewhere: what is pickled in it is not run."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nasp.errors import NaspError, UsageError
from nasp.exporters import export
from nasp.exporters.opened import open_export


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def altered(path: Path, part: str, change: Callable[[bytes], bytes]) -> None:
    """Rewrite one part of an archive; one that is new stands at its end."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    top = next(iter(parts)).partition("/")[0]
    name = f"{top}/{part}"
    parts[name] = change(parts.get(name, b""))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def pickled(config: bytes) -> bytes:
    content = json.loads(config)
    next(iter(content["config"].values()))["use_pickle"] = True
    return json.dumps(content).encode()


def custom(config: bytes) -> bytes:
    payload = {"path_name": "opaque_obj_0", "use_pickle": True}
    return json.dumps({**json.loads(config), "config": {"x": payload}}).encode()


@pytest.mark.parametrize("kind", ["inputs", "weights", "constants", "library"])
def test_code_in_a_program_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    path, left = tmp_path / "net.pt2", tmp_path / "left"
    export(nn.Linear(4, 3), path, example=torch.randn(2, 4))
    bomb = Bomb(left)
    match kind:
        case "inputs":
            altered(path, "data/sample_inputs/model.pt", lambda _: saved((bomb,)))
        case "weights":
            altered(path, "data/weights/model_weights_config.json", pickled)
            altered(path, "data/weights/weight_0", lambda _: saved(bomb))
        case "constants":
            altered(path, "data/constants/model_constants_config.json", custom)
            altered(path, "data/constants/opaque_obj_0", lambda _: pickle.dumps(bomb))
        case "library":
            altered(path, "data/aotinductor/model/x.so", lambda _: b"x")

    def unasked(_: str) -> None:
        raise UsageError("nothing")

    with pytest.raises(NaspError, match=r"holds code in .*, which is not run"):
        open_export(path, unasked)
    assert not left.exists()
    if kind == "inputs":  # torch itself does
        with contextlib.suppress(Exception):
            torch.export.load(path)
        assert left.exists()
