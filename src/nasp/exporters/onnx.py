"""Export as an ONNX model, compared with the network in onnxruntime."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import Example, evaluating, farthest, first_line

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``onnx`` installs."""


def onnx_model(network: nn.Module, example: Example, about: str = "") -> tuple[bytes, float]:
    """Return a network as an ONNX model for any batch, and its largest difference.

    Args:
        network: a plain module; written as it is in evaluation.
        example: arguments of its forward.
        about: kept in the model's ``doc_string``.

    Returns:
        The file's content, and the largest absolute difference between its outputs in onnxruntime
        and the network's, for batches of 1 and 5.

    Raises:
        UsageError: the packages are missing.
        NaspError: torch or ONNX cannot express the network, or the outputs do not agree.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"Exporting to ONNX needs {', '.join(missing)}: pip install 'nasp[onnx]'.")
    several = example.of(2)  # torch.export takes a batch of 1 for a constant
    batch = torch.export.Dim("batch")
    sizes = several.mapped(lambda _: {example.batch_dim: batch})
    with evaluating(network):
        try:
            program = torch.onnx.export(
                network, several.arguments, dynamo=True, dynamic_shapes=sizes, verbose=False
            )
            assert program is not None
            program.model.doc_string = about
            content: bytes = program.model_proto.SerializeToString()
        except Exception as error:  # whatever torch and its parts raise
            raise NaspError(
                f"torch.onnx cannot export this network: {first_line(error)}"
            ) from error
        difference = farthest(network, _Session(content), example)
    return content, difference


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
