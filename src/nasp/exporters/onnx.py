"""Export as an ONNX model, compared with the network in onnxruntime."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.exporters.examples import Example, checked_program

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``onnx`` installs."""


def onnx_model(network: nn.Module, example: Example, about: str = "") -> tuple[list[bytes], float]:
    """Return a network as an ONNX model, and its largest difference; see `checked_program`.

    Args:
        network: a plain module.
        example: arguments of its forward.
        about: kept in the model's ``doc_string``.

    Raises:
        UsageError: the packages are missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"Exporting to ONNX needs {', '.join(missing)}: pip install 'nasp[onnx]'.")

    def export(arguments: tuple[Any, ...], sizes: Any) -> bytes:
        program = torch.onnx.export(
            network, arguments, dynamo=True, dynamic_shapes=sizes, verbose=False
        )
        assert program is not None
        program.model.doc_string = about
        content: bytes = program.model_proto.SerializeToString()
        return content

    return checked_program("torch.onnx", network, example, export, _Session)


class _Session:
    """An ONNX model as a function of tensors."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, example: Example) -> list[Tensor]:
        names = [given.name for given in self.session.get_inputs()]
        arrays: list[Any] = [tensor.detach().cpu().numpy() for tensor in example.tensors]
        outputs = self.session.run(None, dict(zip(names, arrays, strict=True)))
        return [torch.as_tensor(output) for output in outputs]
