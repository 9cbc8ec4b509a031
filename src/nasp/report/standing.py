"""What a run's network costs at its size, and where it stands among random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nasp.complexity.among_random import COUNTED, TIMED, AmongRandom, among_random
from nasp.domains import default_domain, refuse_foreign
from nasp.jobs.job import Size
from nasp.jobs.rebuild import run_size
from nasp.jobs.targets import is_from_python
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space, space_names
from nasp.supernet.architecture import Architecture


class Standing(NamedTuple):
    """A network's costs.

    Attributes:
        config: the size of the network.
        rows: each cost beside those of random networks; none outside the known spaces.
        example: what goes through the network, such as ``"image"``.
        network: its size in words.
    """

    config: Any
    rows: list[AmongRandom]
    example: str = "example"
    network: str = ""


def standing(
    architecture: Architecture,
    run: RunFolder | None,
    given: Mapping[str, Any] | None = None,
    latency: bool = True,
) -> Standing:
    """Return what an architecture's network costs.

    Args:
        architecture: of any network.
        run: whose size it is measured at; None: that of the defaults.
        given: fields of the size that are said instead.
        latency: whether that is measured, too, on this machine.

    Raises:
        UsageError: a field that its networks do not have.
    """
    given = given or {}
    named = architecture.space
    space = find_space(named) if named in space_names() else None
    domain = default_domain(None if space is None else space.name)
    refuse_foreign(domain, "network", given, named or "this architecture")
    own: dict[str, Any] = {}
    if run is not None and not is_from_python(run):
        own = run_size(run, given, observe=None)
    said = {n: own[n] for n in (*Size.model_fields, *domain.shape) if n in own}
    config = domain.sized({**said, **given})
    if space is None:
        return Standing(config, [])
    target = domain.target(space, config, "cpu")
    rows = among_random(target, architecture, (*COUNTED, *TIMED) if latency else COUNTED)
    return Standing(config, rows, target.example, target.name)
