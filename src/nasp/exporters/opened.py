"""Exported files, read again to be used."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import first_line
from nasp.exporters.onnx import onnx_session
from nasp.exporters.service import SAID, Service


@dataclass(frozen=True)
class Predictor:
    """A network that is ready to tell classes apart.

    Attributes:
        classes: their names.
        prepare: a file -> what the network takes of it; raises where the file is damaged.
        logits: a batch of those, on the CPU -> ``[B, classes]``.
        batch: how many it takes at once; None: any number.
    """

    classes: Sequence[str]
    prepare: Callable[[Path], Tensor]
    logits: Callable[[Tensor], Tensor]
    batch: int | None = None


def open_export(path: Path, service_of: Callable[[str], Service]) -> Predictor:
    """Read a file that `nasp.exporters.export` wrote with a service.

    Source is run. Of a torch program, parts that are pickled are read only where they hold nothing
    but tensors and plain values.

    Args:
        path: a ``.py``, ``.onnx`` or ``.pt2`` file.
        service_of: reads what a service says of itself.

    Raises:
        UsageError: it is no such file, or says nothing of the files that its network is for.
        NaspError: it is damaged.
    """
    opened = {".py": _source, ".onnx": _onnx, ".pt2": _program}.get(path.suffix)
    if opened is None or not path.is_file():
        raise UsageError(f"There is no run folder or exported file '{path}': .py, .onnx or .pt2.")
    try:
        return opened(path, service_of)
    except NaspError:
        raise
    except Exception as error:  # whatever torch, onnxruntime or the source itself raises
        raise NaspError(f"Cannot read the network in {path}: {first_line(error)}") from error


def _source(path: Path, _: Any) -> Predictor:
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "prepare"):
        raise _silent(path)
    return Predictor(module.CLASSES, module.prepare, module.load())


def _onnx(path: Path, service_of: Callable[[str], Service]) -> Predictor:
    session = onnx_session(path.read_bytes())
    said = session.get_modelmeta().custom_metadata_map.get(SAID)
    if said is None:
        raise _silent(path)
    service, (given,) = service_of(said), session.get_inputs()

    def logits(batch: Tensor) -> Tensor:
        return torch.as_tensor(session.run(None, {given.name: batch.numpy()})[0])

    batch = given.shape[0] if isinstance(given.shape[0], int) else None
    return Predictor(service.classes, service.tensor, logits, batch)


def _program(path: Path, service_of: Callable[[str], Service]) -> Predictor:
    content = path.read_bytes()
    _refuse_code(content, path)
    extra = {SAID: ""}
    exported = torch.export.load(io.BytesIO(content), extra_files=extra)
    if not extra[SAID]:
        raise _silent(path)
    service, program = service_of(extra[SAID]), exported.module()
    (name,) = exported.graph_signature.user_inputs
    given = next(node.meta["val"] for node in exported.graph.nodes if node.name == name)
    if given.dtype == torch.uint8:  # raw bytes, each file of its own size
        return Predictor(service.classes, service.raw, program, 1)
    batch = given.shape[0] if isinstance(given.shape[0], int) else None
    return Predictor(service.classes, service.tensor, program, batch)


def _refuse_code(content: bytes, path: Path) -> None:
    """Raise NaspError where torch would unpickle more than plain values, or load a library."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if "/aotinductor/" in name or not _is_plain(name, archive.read(name)):
                raise NaspError(
                    f"{path} holds code in {name}, which is not run: export the network again."
                )


def _is_plain(name: str, part: bytes) -> bool:
    if name.endswith(".pt"):
        try:
            torch.load(io.BytesIO(part), weights_only=True)
        except Exception:  # whatever damaged bytes lead to
            return not part
    if name.endswith(("weights_config.json", "constants_config.json")):
        payloads = json.loads(part)["config"].values()
        raw = ("weight_", "tensor_")
        return all(
            each["path_name"].startswith(raw) and not each["use_pickle"] for each in payloads
        )
    return True


def _silent(path: Path) -> UsageError:
    return UsageError(
        f"{path} does not say how files become its input: export the run again, by 'nasp export'."
    )
