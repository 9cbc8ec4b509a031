"""A CUDA graph's habits on a CPU: what is noted is done again, in the same places of memory."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """Notes every operation for the tape that is on.

    Attributes:
        tape: that one.
        strange: convolutions that a tape noted, and that had not been run before: a library that
            looks for its fastest kernel then would fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tape: Tape | None = None
        self.strange: list[str] = []
        self._known: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tape, kwargs = self.tape, kwargs or {}
        if "convolution" in func.__name__:
            what = str((func, pytree.tree_map_only(Tensor, _form, args)))
            if tape is None:
                self._known.add(what)
            elif what not in self._known:
                self.strange.append(what)
        if tape is None:
            return func(*args, **kwargs)
        for argument, value in zip(func._schema.arguments, args, strict=False):
            # What a BatchNorm writes its schema does not say.
            is_note = argument.name in ("running_mean", "running_var")
            if is_note or (argument.alias_info is not None and argument.alias_info.is_write):
                tape.written += [(x, x.detach().clone()) for x in _tensors(value)]
        result = func(*args, **kwargs)
        if "empty" in func.__name__:  # nothing is launched for it
            return result
        tape.operations.append((func, args, kwargs, result))
        return result


class Tape:
    """Operations, replayed into the tensors that they gave when they were noted."""

    def __init__(self, recorder: Recorder) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.written: list[tuple[Tensor, Tensor]] = []
        self._recorder = recorder

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        assert self._recorder.tape is None, "one graph at a time is captured"
        self._recorder.tape = self

    def capture_end(self) -> None:
        assert self._recorder.tape is self
        self._recorder.tape = None
        for tensor, before in reversed(self.written):
            tensor.data.copy_(before)  # a GPU does nothing while a graph is captured
        self.written.clear()
        if not self.operations:
            warnings.warn("The CUDA Graph is empty", stacklevel=2)

    @torch.no_grad()
    def replay(self) -> None:
        assert self._recorder.tape is None, "nothing is replayed while another graph is captured"
        for func, args, kwargs, result in self.operations:
            given = {id(x) for x in _tensors((args, kwargs))}
            storages = {x.untyped_storage().data_ptr() for x in _tensors((args, kwargs))}
            again = func(*args, **kwargs)
            for to, new in zip(_tensors(result), _tensors(again), strict=True):
                is_view = to.untyped_storage().data_ptr() in storages
                if id(to) not in given and not is_view:
                    to.copy_(new)


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
