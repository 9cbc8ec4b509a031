"""What the classes of a file are called, and what is said about them."""

from __future__ import annotations

import re

from torch import nn

from nasp.exporters.source.parts import Part

_LONGEST = 76
"""Characters of a summary, so that it is one line."""
_SHORT = {"BatchNorm": "BN", "AdaptiveAvgPool": "GlobalPool"}
_WORDS = {
    "Conv": "convolution",
    "DepthwiseConv": "depthwise convolution",
    "DilatedDepthwiseConv": "dilated depthwise convolution",
    "RowConv": "convolution along the rows",
    "ColumnConv": "convolution along the columns",
    "BN": "batch norm",
    "MaxPool": "max pooling",
    "AvgPool": "average pooling",
    "GlobalPool": "global average pooling",
}
# A chain of layers -> what the field calls it.
_FIELD = {
    "ReLU DepthwiseConv Conv BN": "DepthwiseSeparableConv",
    "ReLU DepthwiseConv Conv BN ReLU DepthwiseConv Conv BN": "SepConv",
    "ReLU DilatedDepthwiseConv Conv BN": "DilConv",
    "ReLU RowConv ColumnConv BN": "FactorizedConv",
    "Conv BN ReLU DepthwiseConv BN ReLU Conv BN": "MBConvReLU",
    "Conv BN ReLU DepthwiseConv BN ReLU SqueezeExcitation Conv BN": "MBConvReLUSE",
    "Conv BN Hardswish DepthwiseConv BN Hardswish Conv BN": "MBConvHardswish",
    "Conv BN Hardswish DepthwiseConv BN Hardswish SqueezeExcitation Conv BN": "MBConvHardswishSE",
    "Conv BN Hardswish Conv BN": "MLP",
    "DepthwiseConv BN Hardswish Conv BN": "ConvolutionalMixer",
    "Attention Hardswish Conv BN": "AttentionMixer",
}


def class_name(part: Part) -> str:
    """Return the name of a part's class: its own, or what the field calls such a chain."""
    if part.kind != "sequence":
        return re.sub(r"\W", "", type(part.module).__name__)
    words = list(map(_word, part.children.values()))
    return _FIELD.get(" ".join(words), "".join(words[:6]))


def is_known(part: Part) -> bool:
    """Tell whether a part is a chain of layers that the field has a name for."""
    return part.kind == "sequence" and class_name(part) in _FIELD.values()


def summary(part: Part) -> str:
    """Return a sentence about a part's class."""
    kind = type(part.module)
    if part.kind == "sequence":
        words = [_WORDS.get(word, word) for word in map(_word, part.children.values())]
        half = len(words) // 2
        is_twice = words[:half] == words[half:]
        text = f"Twice {', '.join(words[:half])}" if is_twice else ", ".join(words)
        return f"{text[0].upper()}{text[1:]}." if len(text) <= _LONGEST else "A chain of layers."
    if not part.path:
        return "The found network."
    # The first sentence of its docstring, or a beginning of it that is one line.
    text = re.sub(r"\s+", " ", (kind.__doc__ or "").strip().partition("\n\n")[0])
    text = text.partition(": [")[0].partition(". ")[0].rstrip(".")
    for mark in ("\0", ";", ": "):
        text = text.partition(mark)[0]
        if part.kind != "subclass" and 0 < len(text) <= _LONGEST:
            return f"{text}."
    return f"{kind.__name__} of the found network."


def _word(part: Part) -> str:
    """Return a short word for a layer, by what it does."""
    module = part.module
    if part.kind == "sequence":
        return class_name(part)
    name = re.sub(r"[1-3]d$", "", type(module).__name__)
    if isinstance(module, nn.Conv2d):
        rows, columns = module.kernel_size
        if rows != columns:
            return "RowConv" if columns > rows else "ColumnConv"
        if module.groups == module.in_channels > 1:
            return "Dilated" * (max(module.dilation) > 1) + "DepthwiseConv"
    return _SHORT.get(name, name)
