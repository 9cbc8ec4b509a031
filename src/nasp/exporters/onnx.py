"""Export as an ONNX model, compared with the network in onnxruntime."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import Example, Tool, checked_program
from nasp.exporters.service import SAID, Service

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``onnx`` installs."""


def onnx_model(
    network: nn.Module,
    example: Example,
    about: str = "",
    service: Service | None = None,
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> tuple[list[bytes], float]:
    """Return a network as an ONNX model, and its largest difference; see `checked_program`.

    Args:
        network: a plain module.
        example: arguments of its forward.
        about: kept in the model's ``doc_string``.
        service: how it is used on files, kept in its metadata.
        opset: version of ONNX's operations; default torch's choice.
        input_names: of the model's inputs; default those of forward's parameters.
        output_names: of its outputs; default torch's.

    Raises:
        UsageError: the packages are missing.
    """
    _need(*PACKAGES)

    def export(some: Example) -> bytes:
        given = some.arguments
        if given and isinstance(given[-1], dict):
            given = (*given, {})  # torch.onnx takes a last one for named arguments
        with _quietly():
            program = torch.onnx.export(
                network,
                given,
                kwargs=dict(some.named),
                dynamo=True,
                dynamic_shapes=some.free_sizes(),
                opset_version=opset,
                input_names=input_names,
                output_names=output_names,
                verbose=False,
            )
        assert program is not None
        written = program.model.opset_imports[""]
        if opset is not None and written != opset:
            raise NaspError(f"it is written in opset {written}, and not to be had in {opset}")
        program.model.doc_string = about
        if service is not None:
            program.model.metadata_props[SAID] = service.said()
        content: bytes = program.model_proto.SerializeToString()
        return content

    return checked_program(Tool("torch.onnx", export, _Session), network, example)


def _need(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'nasp-torch[onnx]'.")


@contextmanager
def _quietly() -> Iterator[None]:
    # The converter of opsets logs a traceback where it fails; what was written is looked at.
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*axis name: batch")  # of several inputs
            yield
    finally:
        logging.disable(before)


def onnx_session(content: bytes) -> Any:
    """Return an ONNX model, ready to run on the CPU.

    Raises:
        UsageError: onnxruntime is missing.
    """
    _need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class _Session:
    """An ONNX model as a function of tensors."""

    def __init__(self, content: bytes) -> None:
        self.session = onnx_session(content)

    def __call__(self, example: Example) -> list[Tensor]:
        names = [given.name for given in self.session.get_inputs()]
        arrays: list[Any] = [tensor.detach().cpu().numpy() for tensor in example.tensors]
        outputs = self.session.run(None, dict(zip(names, arrays, strict=True)))
        return [torch.as_tensor(output) for output in outputs]
