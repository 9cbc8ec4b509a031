"""What the classes of a file are called, and what is said about them."""

from __future__ import annotations

import re

from torch import nn

from nasp.exporters.source.parts import Part

_LONGEST = 76
"""Characters of a summary, so that it is one line."""
_SHORT = {"Conv": "Conv", "BatchNorm": "BN", "AdaptiveAvgPool": "GlobalPool"}
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
    words = [_word(child) for child in part.children.values()]
    return _FIELD.get(" ".join(words), "".join(words[:6]))


def is_known(part: Part) -> bool:
    """Tell whether the field has a name for a chain of layers."""
    return " ".join(map(_word, part.children.values())) in _FIELD


def summary(part: Part) -> str:
    """Return a sentence about a part's class."""
    if not part.path and part.kind != "sequence":
        return "The found network."
    if part.kind == "sequence":
        words = [_WORDS.get(w, w) for w in map(_word, part.children.values())]
        half = len(words) // 2
        if words[:half] == words[half:]:
            return f"Twice {', '.join(words[:half])}."
        listed = ", ".join(words)
        whole = f"{listed[0].upper()}{listed[1:]}."
        return whole if len(listed) <= _LONGEST else "A chain of layers."
    if part.kind != "subclass" and (first := _first_sentence(part.module)):
        return first
    return f"{type(part.module).__name__} of the found network."


def _first_sentence(module: nn.Module) -> str | None:
    """Return the first sentence of a class's docstring, or a beginning of it that is one line."""
    whole = re.sub(r"\s+", " ", (type(module).__doc__ or "").strip().partition("\n\n")[0])
    sentence = whole.partition(": [")[0].partition(". ")[0].rstrip(".")
    for beginning in (sentence, sentence.partition(";")[0], sentence.partition(": ")[0]):
        if 0 < len(beginning) <= _LONGEST:
            return f"{beginning}."
    return None


def _word(part: Part) -> str:
    """Return a short word for a layer, by what it does."""
    module = part.module
    if isinstance(module, nn.Conv2d):
        rows, columns = module.kernel_size
        if rows != columns:
            return "RowConv" if columns > rows else "ColumnConv"
        if module.groups == module.in_channels > 1:
            dilated = "Dilated" if max(module.dilation) > 1 else ""
            return f"{dilated}DepthwiseConv"
        return "Conv"
    if part.kind == "sequence":
        return class_name(part)
    name = re.sub(r"[1-3]d$", "", type(module).__name__)
    return _SHORT.get(name, name)
