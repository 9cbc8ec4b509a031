"""From a module back to the arguments that its class would make it of."""

from __future__ import annotations

import copy
import inspect
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# What a module holds beside the attributes of its own class.
_INTERNALS = frozenset(vars(nn.Module()))


@dataclass(frozen=True)
class Argument:
    """An argument of a constructor.

    Attributes:
        value: what the module was made with.
        default: what is taken where it is not given; `inspect.Parameter.empty` for none.
        by_name: whether it can be given by its name alone.
    """

    value: Any
    default: Any
    by_name: bool

    @property
    def is_given(self) -> bool:
        """Whether it has to be given, because it differs from the default."""
        return self.default is inspect.Parameter.empty or bool(self.value != self.default)


def arguments_of(module: nn.Module) -> dict[str, Argument] | None:
    """Return the arguments of the constructor, or None where they cannot be told.

    They are read from the attributes that have their names; what the class makes of them must
    then be like the module: the same submodules, attributes, and shapes of tensors.
    """
    arguments = {}
    for parameter in _parameters(type(module)):
        if parameter.name in _not_told(module):
            continue
        if not hasattr(module, parameter.name) or hasattr(nn.Module, parameter.name):
            if parameter.default is parameter.empty:
                return None
            continue
        value = getattr(module, parameter.name)
        if isinstance(value, nn.Module) and module._modules.get(parameter.name) is not value:
            return None
        if parameter.name == "bias" and not isinstance(value, bool):
            value = value is not None
        by_name = parameter.kind is parameter.KEYWORD_ONLY
        arguments[parameter.name] = Argument(value, parameter.default, by_name)
    if not _suffice(arguments, module):
        return None
    for name in [name for name, argument in arguments.items() if argument.value is False]:
        fewer = {k: v for k, v in arguments.items() if k != name}
        if arguments[name].default is True and _suffice(fewer, module):
            arguments = fewer  # a BatchNorm that is not affine has no bias anyway
    return arguments


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are no submodules, parameters or buffers.

    A submodule, parameter or buffer that is None is among them.
    """
    registered = {**module._modules, **module._parameters, **module._buffers}
    missing = {name: None for name, value in registered.items() if value is None}
    return missing | {k: v for k, v in vars(module).items() if k not in _INTERNALS}


def submodules(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return all submodules with their names; unlike `named_children`, one used twice twice."""
    return [(name, child) for name, child in module._modules.items() if child is not None]


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module itself, without those of its submodules."""
    tensors = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _parameters(kind: type[nn.Module]) -> list[inspect.Parameter]:
    """Return the parameters of the first constructor, up the bases, that says what it takes."""
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        if not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            return parameters
    return []


def _not_told(module: nn.Module) -> frozenset[str]:
    """Return parameters that say where a module lies, or which class of a family it is."""
    return frozenset({"device", "dtype"} | ({"mode"} if isinstance(module, nn.RNNBase) else set()))


def _suffice(arguments: dict[str, Argument], module: nn.Module) -> bool:
    given = {name: argument.value for name, argument in arguments.items() if argument.is_given}
    twin = _made(type(module), given)
    return twin is not None and _alike(twin, module)


def _made(kind: type[nn.Module], values: dict[str, Any]) -> nn.Module | None:
    """Return a new module of a class, or None where it cannot be made so; draws nothing."""
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            return kind(**copy.deepcopy(values))  # it may change what it is given
    except Exception:  # a class of the user's may raise anything
        return None
    finally:
        random.setstate(state)


def _alike(twin: nn.Module, module: nn.Module) -> bool:
    if type(twin) is not type(module) or twin._modules.keys() != module._modules.keys():
        return False
    ours, theirs = own_tensors(twin), own_tensors(module)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return False
    if twin._non_persistent_buffers_set or not _equal(_told(twin), _told(module)):
        return False
    pairs = zip(twin._modules.values(), module._modules.values(), strict=True)
    return all(
        a is b is None or (a is not None and b is not None and _alike(a, b)) for a, b in pairs
    )


def _told(module: nn.Module) -> dict[str, Any]:
    """Return the attributes to compare: of torch's own classes, those that are not private."""
    is_torch = type(module).__module__.startswith("torch.")
    attributes = own_attributes(module).items()
    return {k: v for k, v in attributes if not (is_torch and k.startswith("_"))}


def _equal(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    try:
        return bool(ours == theirs)
    except (RuntimeError, ValueError, TypeError):  # of arrays and tensors, which have no one answer
        return False
