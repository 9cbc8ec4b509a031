"""A search or a training as settings in a file, and the run folder that is made for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from nasp.domains import Domain, domain_of
from nasp.domains.domain import Data, DataConfig
from nasp.errors import NaspError, UsageError, validated
from nasp.runs.folder import RunFolder
from nasp.runs.origin import origin
from nasp.training.recipe import BaseRecipe

if TYPE_CHECKING:
    from typing_extensions import Self


class Size(BaseModel):
    """How wide and how deep a network is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    channels: int = Field(ge=1)
    """Channels of the first cell; of a recurrent one its units."""
    cells: int = Field(ge=1)
    """Cells in all; in nasbench201, mobile and vit cells a stage."""


class Job(BaseModel):
    """What a search and a training have in common, beside their `Size`.

    The name of the data says which kind of data they are, and so of which class the settings are
    that each kind has for itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: ClassVar[str]
    """Says in the file which class of jobs it is."""
    own: ClassVar[tuple[str, ...]] = ("data",)
    """The fields whose class is the domain's, each by the name that it has in `Domain`."""

    data: SerializeAsAny[DataConfig]
    space: str
    """The search space."""

    @property
    def domain(self) -> Domain:
        """The kind of its data."""
        return domain_of(self.data.name)

    def moved(self, data: str) -> Self:
        """Return the same job, its data at another place.

        Raises:
            UsageError: they would be of another kind.
        """
        if not self.domain.knows(data):
            raise UsageError(f"The run is about {self.domain.name}, and '{data}' is not.")
        return self.model_copy(update={"data": self.data.moved(data).absolute()})

    @property
    def recipe(self) -> BaseRecipe:
        """What it computes with."""
        found: BaseRecipe = getattr(self, self.kind)
        return found

    def on(self, devices: int | None, nodes: int | None) -> Self:
        """Return the same job on other devices; None leaves a number as it is."""
        given = {"devices": devices, "nodes": nodes}
        changed = {name: value for name, value in given.items() if value is not None}
        return self.model_copy(update={self.kind: self.recipe.model_copy(update=changed)})

    @model_validator(mode="before")
    @classmethod
    def _of_its_domain(cls, fields: Any) -> Any:
        """Read each of the domain's own settings as what they are.

        Raises:
            UsageError: there are no such data, or a setting does not fit.
        """
        given = fields.get("data") if isinstance(fields, Mapping) else None
        name = given.get("name") if isinstance(given, Mapping) else getattr(given, "name", None)
        if not isinstance(name, str):
            return fields
        domain, read = domain_of(name), dict(fields)
        for part in cls.own:
            value = read.get(part, {})
            if isinstance(value, Mapping):
                read[part] = validated(getattr(domain, part), value, f"the {_WORDS[part]}")
        return read


_WORDS = {"data": "data", "supernet": "supernet", "train": "training"}


def begin(path: str | Path, job: Job) -> RunFolder:
    """Make a run folder for a job; see `RunFolder.create`."""
    content = {"kind": job.kind, "job": written(job), **origin()}
    return RunFolder.create(path, content)


def keep_data(data: Data, job: Job, run: RunFolder) -> None:
    """Write into a run folder what its network needs of the data, and where they lie now.

    Raises:
        NaspError: the folder holds another, since the data have changed.
    """
    data.keep(run.path)
    content, own = run.config(), written(job)
    if content["job"]["data"] != own["data"]:
        run.write_config({**content, "job": {**content["job"], "data": own["data"]}})


def written(job: Job) -> dict[str, Any]:
    """Return a job as its run's `config.json` holds it."""
    return job.model_copy(update={"data": job.data.absolute()}).model_dump(mode="json")


@contextmanager
def new_run(path: str | Path, job: Job) -> Iterator[RunFolder]:
    """Make a run folder for a job, and take it away again where the job cannot even begin."""
    run = begin(path, job)
    try:
        yield run
    except (NaspError, OSError):
        run.discard_unless_under_way()
        raise


def inner_run(outer: RunFolder, name: str, job: Job) -> RunFolder:
    """Return the run of a job that is a part of another, begun where it was not yet.

    Args:
        outer: the run that it is a part of, and with which it goes on.
        name: its path inside the outer's folder.
        job: what the run is made for.
    """
    run = run_of(outer.path / name, job, outer.go_on)
    run.is_copy = outer.is_copy
    return run


def run_of(path: Path, job: Job, go_on: str) -> RunFolder:
    """Return the run of a job in a folder, begun where it was not yet.

    Args:
        path: the folder.
        job: what the run is made for.
        go_on: what the user is told to call where it is stopped.
    """
    is_new = not (path / "config.json").is_file()
    run = begin(path, job) if is_new else RunFolder.open(path)
    run.go_on = go_on
    return run
