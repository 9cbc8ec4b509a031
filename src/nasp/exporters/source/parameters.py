"""The fewest parameters that say what differs among the modules of a class, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nasp.exporters.source.constructors import MISSING
from nasp.exporters.source.imports import unused
from nasp.exporters.source.parts import Part
from nasp.exporters.source.traces import attribute_name

_IN = {"in_channels", "in_features", "input_size"}
_OUT = {"out_channels", "out_features", "num_features", "num_channels", "hidden_size"}
_WIDTHS = _IN | _OUT | {"channels", "features", "groups", "normalized_shape", "embed_dim", "size"}
"""Arguments that say how wide a layer is; equal ones of a class are one parameter."""

# Arguments, those that they may follow from, and how: as it will be written.
_FORMS = (
    (_OUT, _WIDTHS, ("{0} // 2", "{0} - {0} // 2")),
    ({"padding"}, {"kernel_size"}, ("{0} // 2", "2 * ({0} // 2)")),
)


@dataclass(eq=False)
class Parameter:
    """A parameter, and what it is for each of some modules."""

    text: str  # its name; or what follows from another one of its class
    values: list[Any]  # one for each module
    default: Any = MISSING  # what is taken where it is not given
    hint: str = ""  # the argument's name that it stands for
    hints: list[str] = field(default_factory=list)  # in a class, those of all its places
    by_name: bool = False  # whether it is given by its name even without a default

    @property
    def annotation(self) -> str:
        """Its type, as written."""
        names = {_type_name(value) for value in self.values}
        return " | ".join(sorted(names, key=lambda name: (name == "None", name)))

    def all_in(self, names: set[str]) -> bool:
        """Tell whether all its places are arguments of these names."""
        return names.issuperset(self.hints)

    @property
    def order(self) -> int:
        """Where it stands: modules, widths of inputs, other widths, kernels, the rest."""
        is_width = not _WIDTHS.isdisjoint(self.hints)
        is_input, is_kernel = is_width and self.all_in(_IN), "kernel_size" in self.hints
        kinds = (isinstance(self.values[0], Part), is_input, is_width, is_kernel, True)
        return kinds.index(True)


def family(hint: str, value: Any) -> str:
    """Return what arguments have in common that may be one parameter."""
    if isinstance(value, Part):
        return "module"
    return "width" if hint in _WIDTHS else hint


def fill(groups: Sequence[Parameter]) -> list[Parameter]:
    """Find the text of each group of places, and return the parameters that this needs.

    Some follow from another, such as the padding from the kernel's size.
    """
    following: dict[Parameter, tuple[Parameter, str]] = {}
    for group in groups:
        if all(group is not base for base, _ in following.values()):
            bases = [base for base in groups if base is not group and base not in following]
            forms = [(base, form) for base in bases for form in _forms(group, base)]
            following |= {group: forms[0]} if forms else {}
    free = sorted((g for g in groups if g not in following), key=lambda group: group.order)
    names = [_name(parameter, free) for parameter in free]
    taken: set[str] = set()
    for index, (name, parameter) in enumerate(zip(names, free, strict=True)):
        number = str(names[:index].count(name)) if names.count(name) > 1 else ""
        parameter.hint, parameter.text = name, unused(f"{name}{number}", taken, "_")
        is_taken = any(same(value, parameter.default) for value in parameter.values)
        if parameter.order < 4 or not is_taken:  # a size has no default
            parameter.default = MISSING
    for group, (base, form) in following.items():
        group.text = form.format(base.text)
    return sorted(free, key=lambda parameter: parameter.default is not MISSING)


def _forms(group: Parameter, base: Parameter) -> list[str]:
    """Return how the values of one group are computed from those of another."""
    if base.all_in(_IN) or any(type(v) is not int for v in [*group.values, *base.values]):
        return []
    return [
        form
        for names, bases, forms in _FORMS
        if group.all_in(names) and base.all_in(bases)
        for form in forms
        if group.values == [eval(form.format(value)) for value in base.values]
    ]


def _name(group: Parameter, groups: list[Parameter]) -> str:
    if not group.all_in(_WIDTHS):
        return attribute_name(max(group.hints, key=group.hints.count))
    if group.all_in(_IN):
        return group.hints[0]
    noun = "features" if {"in_features", "out_features"} & set(group.hints) else "channels"
    has_inputs = any(other.all_in(_IN) for other in groups)
    return f"out_{noun}" if has_inputs and group.all_in(_OUT) else noun


def same(value: Any, other: Any) -> bool:
    """Tell whether two values are written alike: 1, True and 1.0 are not."""
    return type(value) is type(other) and bool(value == other)


def _type_name(value: Any) -> str:
    if isinstance(value, Part):
        return "nn.Module"
    if type(value) is tuple:
        return f"tuple[{', '.join(map(_type_name, value)) or '()'}]"
    name = "None" if value is None else type(value).__name__
    return name if name in ("bool", "int", "float", "str", "None") else "object"
