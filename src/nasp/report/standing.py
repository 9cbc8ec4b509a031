"""What a run's network costs at its size, and where it stands among random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nasp.complexity.among_random import COUNTED, TIMED, AmongRandom, among_random
from nasp.complexity.quantity import find_quantity
from nasp.domains import default_domain, refuse_foreign
from nasp.jobs.job import Size
from nasp.jobs.rebuild import run_size
from nasp.jobs.targets import is_from_python
from nasp.report.charts import Spread
from nasp.report.tables import Table, table_of
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
    costs: Sequence[str] = (*COUNTED, *TIMED),
) -> Standing:
    """Return what an architecture's network costs.

    Args:
        architecture: of any network.
        run: whose size it is measured at; None: that of a search's defaults.
        given: fields of the size that are said instead.
        costs: names of what is measured.

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
    usual = {} if space is None else domain.search_defaults("", space.name).size
    config = domain.sized({**usual, **said, **given})
    if space is None:
        return Standing(config, [])
    target = domain.target(space, config, "cpu")
    target.supernet.path(architecture)  # refuses what is not of this space
    rows = among_random(target, architecture, costs)
    return Standing(config, rows, target.example, target.name)


def spreads(costs: Sequence[AmongRandom]) -> list[Spread]:
    """Return where a network's costs lie among those of random ones, in readable units."""
    found = []
    for row in costs:
        quantity = find_quantity(row.cost)
        unit, size = quantity.unit(max(row.others, default=row.estimate))
        label = f"{quantity.label}, {unit}" if unit else quantity.label
        others = [other / size for other in row.others]
        found.append(
            Spread(
                quantity.label[0].upper() + quantity.label[1:], label, others, row.estimate / size
            )
        )
    return found


def costs_table(costs: Sequence[AmongRandom], example: str = "") -> Table:
    """Return a network's costs beside the mean of random ones', written with their units."""
    rows = []
    for row in costs:
        quantity = find_quantity(row.cost)
        spread = f" ± {quantity.written(row.spread)}" if row.spread else ""
        rows.append(
            {
                "label": quantity.label,
                "value": quantity.written(row.value) + spread,
                "mean": quantity.written(row.mean),
                "cheaper": row.cheaper,
            }
        )
    count = costs[0].random if costs else 0
    columns = {
        "cost": "{label}",
        "this network": "{value}",
        f"mean of {count} random": "{mean}",
        "cheaper than it": "{cheaper:.0%}",
    }
    return table_of(rows, columns, example)
