"""A run's network on images: its own test part, or any others that are labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nasp.domains.evaluation import Evaluation, classified
from nasp.domains.images.csv_file import list_csv
from nasp.domains.images.data import EVALUATION_BATCH, ImageConfig, read_images
from nasp.domains.images.folder import base_of, place_of
from nasp.domains.images.image_set import LabelledImages, LazyImages
from nasp.domains.images.layouts import ImageFile, list_folder
from nasp.domains.images.loader import Loader
from nasp.domains.images.preparation import Preparation
from nasp.domains.images.splits_file import SPLITS, Splits
from nasp.errors import NaspError, UsageError
from nasp.training.evaluation import evaluation_mode
from nasp.training.events import Loading, Observer


@dataclass(frozen=True)
class _Examples:
    """Labelled images as they are, and how they are prepared; a `LazyImages`.

    Attributes:
        on: what they are, in words.
        images: files, or uint8 `[C, h, w]` each.
        labels: the class of each.
        kept: how the run prepares images.
    """

    on: str
    images: list[str] | Tensor | LazyImages
    labels: Sequence[str]
    kept: Preparation

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Tensor:
        return self.kept.pixels(self.images[index])


def evaluate(
    network: nn.Module,
    config: ImageConfig,
    run: Path,
    data: str | None,
    device: torch.device,
    observe: Observer,
) -> Evaluation:
    """Measure a network as its run prepares images.

    Args:
        network: on `device`.
        config: the run's data.
        run: its folder.
        data: other images, or the run's at another place; default the run's.
        device: where it computes.
        observe: is told how far it is.

    Raises:
        UsageError: there are no such images, or they are of classes that the run does not have.
        NaspError: an image is damaged.
    """
    kept = Preparation.read(run)
    examples = _examples(config, run, data, kept, observe)
    if unknown := sorted(set(examples.labels) - set(kept.classes)):
        raise UsageError(
            f"{examples.on} has classes that the run in {run} does not know:"
            f" {', '.join(unknown[:5])}{', ...' * (len(unknown) > 5)}."
        )
    labels = torch.tensor([kept.classes.index(label) for label in examples.labels])
    files = examples.images if isinstance(examples.images, list) else None
    loader = Loader(
        LabelledImages(examples, labels),
        kept.transform,
        batch_size=EVALUATION_BATCH,
        training=False,
        workers=config.workers if files else 0,
        device=device,
    )
    outputs, done = [], 0
    with evaluation_mode(network), torch.no_grad():
        for images, _ in loader:
            outputs.append(network(images).float().cpu())
            done += len(images)
            observe(Loading(done, len(labels)))
    names = files or [str(place) for place in range(len(labels))]
    logits = torch.cat(outputs)
    return classified(examples.on, logits, labels, kept.classes, names, examples.__getitem__)


def _examples(
    config: ImageConfig, run: Path, data: str | None, kept: Preparation, observe: Observer
) -> _Examples:
    name = data or config.name
    if ":" not in name:
        own_or_other = config if data is None else ImageConfig(name=name, root=config.root)
        images = read_images(own_or_other, observe).images
        labels = [images.classes[i] for i in images.test.labels.tolist()]
        return _Examples(f"{name}, test part", images.test.images, labels, kept)
    base = base_of(name)
    kept_splits = run / SPLITS
    own = Splits.read(kept_splits).parts["test"] if kept_splits.is_file() else {}
    gone = [file for names in own.values() for file in _changed(base, names)]
    if gone and data is None:
        raise NaspError(
            f"{len(gone)} test images of the run in {run} are gone or changed in {base}, the first"
            f" is {gone[0]}: bring them back, or say where they are now by --data."
        )
    if own and not gone:
        files = [ImageFile(file, label) for label, names in own.items() for file in names]
        return _of_files("the run's test part", base, files, kept)
    is_csv = name.startswith("csv:")
    path = place_of(name)
    listing = list_csv(path, config.csv_columns) if is_csv else list_folder(base)
    if part := listing.parts.get("test"):
        return _of_files(f"{name}, test part", base, part, kept)
    everything = [file for files in listing.parts.values() for file in files]
    return _of_files(name, base, everything, kept)


def _of_files(on: str, base: Path, files: Sequence[ImageFile], kept: Preparation) -> _Examples:
    paths = [str(base / file.name) for file in files]
    return _Examples(on, paths, [file.label for file in files], kept)


def _changed(base: Path, sizes: Mapping[str, int]) -> list[str]:
    paths = {name: base / name for name in sizes}
    return [n for n, p in paths.items() if not p.is_file() or p.stat().st_size != sizes[n]]
