"""From a module back to the arguments that its class would make it of."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from torch import Tensor, nn

from nasp.exporters.examples import same

MISSING = inspect.Parameter.empty
"""The default of what has none."""

# What a module holds beside the attributes of its own class.
_INTERNALS = frozenset(vars(nn.Module()))


def signature_of(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Return the parameters of the first constructor, up the bases, that says what it takes.

    Without those that say where a module lies, or which class of a family it is.
    """
    untold = {"device", "dtype"} | ({"mode"} if issubclass(kind, nn.RNNBase) else set())
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            if not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
                return {p.name: p for p in parameters if p.name not in untold}
    return {}


def arguments_of(module: nn.Module) -> dict[str, Any] | None:
    """Return the arguments of the constructor, or None where they cannot be told.

    They are read from the attributes that have their names; what the class makes of them must
    then be like the module: the same submodules, attributes, and shapes of tensors. A number
    stands for a tuple of it where that makes the same.
    """
    given: dict[str, Any] = {}
    for name, parameter in signature_of(type(module)).items():
        if hasattr(module, name) and not hasattr(nn.Module, name):
            value = given[name] = getattr(module, name)
            if isinstance(value, nn.Module) and module._modules.get(name) is not value:
                return None
            if name == "bias" and not isinstance(value, bool):
                given[name] = value is not None
        elif parameter.default is MISSING:
            return None
    numbers = {k: v[0] for k, v in given.items() if type(v) is tuple and len(set(v)) == 1}
    wholes = [given | numbers, given] if numbers else [given]
    # A BatchNorm that is not affine has no bias anyway.
    fewer = [{k: v for k, v in some.items() if k != "bias"} for some in wholes]
    tries = wholes if given.get("bias", True) else [*fewer, *wholes]
    return next((some for some in tries if _suffice(some, module)), None)


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are no submodules, parameters or buffers.

    A submodule, parameter or buffer that is None is among them.
    """
    registered = {**module._modules, **module._parameters, **module._buffers}
    missing = {name: None for name, value in registered.items() if value is None}
    return missing | {k: v for k, v in vars(module).items() if k not in _INTERNALS}


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module itself, without those of its submodules."""
    tensors = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _suffice(arguments: dict[str, Any], module: nn.Module) -> bool:
    """Tell whether a module made of these arguments is like another."""
    try:
        signature = signature_of(type(module))
        # A GRU has a proj_size, and refuses to be given one; a deep copy, since any class may
        # change what it is given.
        told = {k: v for k, v in arguments.items() if v != signature[k].default}
        twin = type(module)(**copy.deepcopy(told))
        is_kept = not any(part._non_persistent_buffers_set for part in twin.modules())
        return is_kept and same(_likeness(twin), _likeness(module))
    except Exception:  # a class of the user's may raise anything
        return False


def _likeness(module: nn.Module) -> list[Any]:
    """Return what two modules must have in common so that one constructor makes both."""
    found: list[Any] = []
    for name, part in module.named_modules(remove_duplicate=False):
        is_torch = type(part).__module__.startswith("torch.")
        told = {k: v for k, v in own_attributes(part).items() if not (is_torch and k[0] == "_")}
        told |= {name: tensor.shape for name, tensor in own_tensors(part).items()}
        found.append((name, type(part), [(key, told[key]) for key in sorted(told)]))
    return found
