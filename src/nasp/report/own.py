"""Calls from Python as `nasp` has them: their loggers are told the result, too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from nasp.bilevel import own as searching
from nasp.errors import UsageError
from nasp.report.charts import vega
from nasp.report.tracking import Reporting
from nasp.training import own as training
from nasp.training.tracking import Tracker

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def reporting(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make what a call's ``logger=`` is told end with pictures and the report."""

    @wraps(call)
    def told(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if (logger := kwargs.get("logger")) is not None:
            kwargs["logger"] = _reporter(logger)
        return call(*args, **kwargs)

    return told


def _reporter(logger: Any) -> Tracker:
    tracker = Reporting(logger)
    try:
        if tracker.wants_result:
            vega()
    except UsageError as error:
        warnings.warn(f"The logger gets no pictures and no report. {error}", stacklevel=3)
        return Tracker(logger)
    return tracker


search = reporting(searching.search)
train = reporting(training.train)
