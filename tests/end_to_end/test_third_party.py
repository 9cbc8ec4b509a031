"""Networks as people have them, from their search to a file: layers, data and losses of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import Conv2dNormActivation

import nasp
from nasp.exporters.examples import example_of, same

pytestmark = pytest.mark.usefixtures("importable")


def choice(channels: int) -> nasp.Choice:
    layers = {f"conv{k}": Conv2dNormActivation(channels, channels, k) for k in (1, 3, 5)}
    return nasp.Choice({**layers, "skip": nn.Identity()})


class Segmenter(nn.Module):
    """A U-Net on the first stages of torchvision's ResNet, one block each."""

    def __init__(self) -> None:
        super().__init__()
        stages = {"layer1": "1", "layer2": "2", "layer3": "3"}
        self.encoder = IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), stages)
        self.lateral = nn.ModuleList(nn.Conv2d(c, 16, 1) for c in (256, 128, 64))
        self.blocks = nn.ModuleList(choice(16) for _ in range(3))
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = list(self.encoder(images).values())[::-1]
        x = torch.zeros_like(self.lateral[0](features[0]))
        for lateral, block, feature in zip(self.lateral, self.blocks, features, strict=True):
            x = F.interpolate(x, feature.shape[2:])
            x = block(x + lateral(feature))
        return F.interpolate(self.head(x), images.shape[2:], mode="bilinear")


def masks(seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return images whose bright rectangle is one class and dark rest another; some is unknown."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(4):
        target = torch.zeros(4, 32, 32, dtype=torch.int64)
        target[:, 8:24, 4:20] = 1
        target[:, 28:] = 2
        images = torch.randn(4, 3, 32, 32, generator=generator) + target[:, None]
        target[:, :2] = 255
        batches.append((images, target))
    return batches


@dataclass
class Graphs:
    """Several graphs as one: nodes [N,F], edges [2,E], each node's graph [N], labels [graphs]."""

    nodes: Tensor
    edges: Tensor
    owner: Tensor
    labels: Tensor


def graphs(seed: int) -> list[Graphs]:
    """Return rings and stars, which only their edges tell apart."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(4):
        labels, edges, owner = torch.randint(2, (12,), generator=generator), [], []
        for graph, label in enumerate(labels.tolist()):
            size = int(torch.randint(5, 9, (), generator=generator))
            first, place = len(owner), torch.arange(size)
            hub = torch.zeros_like(place) if label else place
            pairs = torch.stack([hub, (place + 1) % size]) + first
            edges += [pairs, pairs.flip(0)]
            owner += [graph] * size
        nodes = torch.randn(len(owner), 8, generator=generator)
        batches.append(Graphs(nodes, torch.cat(edges, dim=1), torch.tensor(owner), labels))
    return batches


class Convolution(nn.Module):
    """A graph convolution: of each node's neighbours the sum, the mean, or the sum and itself."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.Linear(width, width)
        self.own = nn.Linear(width, width) if kind == "self" else None

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        gathered = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        if self.kind == "mean":
            degree = torch.zeros(len(x)).index_add(0, edges[1], torch.ones(edges.shape[1]))
            gathered = gathered / degree.clamp_min(1)[:, None]
        y = self.layer(gathered)
        return (y if self.own is None else y + self.own(x)).relu()


class NoConvolution(nn.Module):
    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        del edges
        return x


class GraphNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(9, 16)
        kinds = ("sum", "mean", "self")
        self.layers = nn.ModuleList(
            nasp.Choice({**{k: Convolution(16, k) for k in kinds}, "skip": NoConvolution()})
            for _ in range(2)
        )
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 2)

    def forward(self, graphs: Graphs) -> Tensor:
        degree = torch.zeros(len(graphs.nodes)).index_add(
            0, graphs.edges[1], torch.ones(graphs.edges.shape[1])
        )
        x = self.stem(torch.cat([graphs.nodes, degree[:, None]], dim=1))
        for layer in self.layers:
            x = layer(x, graphs.edges)
        pooled = x.new_zeros(len(graphs.labels), x.shape[1]).index_add(0, graphs.owner, x)
        return self.head(self.norm(pooled))


class GraphTask:
    def loss(self, network: nn.Module, batch: Graphs) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(batch)
        accuracy = (logits.argmax(1) == batch.labels).float().mean().detach()
        return F.cross_entropy(logits, batch.labels), {"accuracy": accuracy}


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dNormActivation(3, 16, stride=4)
        self.blocks = nn.Sequential(choice(16), choice(16))
        self.out_channels = 16

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


def detector() -> nn.Module:
    """torchvision's Faster R-CNN on a small backbone."""
    return FasterRCNN(
        Backbone(),
        num_classes=2,
        min_size=48,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(((8, 16, 32),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        rpn_post_nms_top_n_train=20,
        rpn_post_nms_top_n_test=20,
        box_batch_size_per_image=16,
    )


def scenes(seed: int) -> list[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Return lists of images of several sizes, with dictionaries of boxes and labels."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(2):
        images, targets = [], []
        for height, width in ((48, 40), (36, 64)):
            image = 0.1 * torch.randn(3, height, width, generator=generator)
            image[:, 8:28, 10:34] += 1
            images.append(image)
            boxes = torch.tensor([[10.0, 8.0, 34.0, 28.0]])
            targets.append({"boxes": boxes, "labels": torch.ones(1, dtype=torch.int64)})
        batches.append((images, targets))
    return batches


class DetectionTask:
    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        losses = network(*batch)
        return sum(losses.values()), {name: loss.detach() for name, loss in losses.items()}


class Last(nn.Module):
    """The last state of a recurrent layer, for each packed text."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, words: PackedSequence) -> Tensor:
        state = self.layer(words)[1]
        return (state[0] if isinstance(state, tuple) else state)[-1]


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 8)
        layers = {"lstm": nn.LSTM(8, 16), "gru": nn.GRU(8, 16), "deep": nn.GRU(8, 16, 2)}
        self.read = nasp.Choice({name: Last(layer) for name, layer in layers.items()})
        self.head = nn.Linear(16, 2)

    def forward(self, texts: PackedSequence) -> Tensor:
        return self.head(self.read(texts._replace(data=self.words(texts.data))))


def texts(seed: int) -> list[tuple[PackedSequence, Tensor]]:
    """Return packed texts of several lengths; the label is whether word 0 occurs."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(4):
        lengths = torch.randint(3, 9, (16,), generator=generator).tolist()
        words = [torch.randint(12, (length,), generator=generator) for length in lengths]
        labels = torch.tensor([int((each == 0).any()) for each in words])
        batches.append((pack_sequence(words, enforce_sorted=False), labels))
    return batches


def unknown_left_out(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, ignore_index=255)


@pytest.mark.parametrize(
    ("make", "data", "task", "example"),
    [
        (Segmenter, masks, nasp.Supervised(unknown_left_out), lambda batch: batch[0]),
        (GraphNetwork, graphs, GraphTask(), lambda batch: batch),
        (detector, scenes, DetectionTask(), lambda batch: (batch[0],)),
        (Reader, texts, nasp.Supervised(), lambda batch: batch[0]),
    ],
    ids=["segmenter", "graphs", "detector", "texts"],
)
@pytest.mark.parametrize("strategy", ["nasp", "darts"])
def test_search_build_train_export(
    make: Any, data: Any, task: Any, example: Any, strategy: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    train, val = data(0), data(1)
    settings = {"strategy": strategy, "epochs": 2, "lr": 0.01, "at_most": {"macs": "60M"}}
    found = nasp.search(make(), train, val, task=task, **settings)
    assert found.bounds[0].is_met
    assert found.bounds[0].reached > 1000
    assert all(torch.isfinite(torch.tensor(line["val_loss"])) for line in found.metrics)
    network = found.build()
    assert not any(type(part).__module__.startswith("nasp") for part in network.modules())
    # A detector has no loss in evaluation.
    measured = None if make is detector else val
    settings = {"optimizer": "adam", "lr": 1e-3, "epochs": 3 if make is Segmenter else 20}
    lines = nasp.train(network, train, measured, task=task, **settings).metrics
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert measured is None or "val_loss" in lines[-1]
    given = example(val[0])
    nasp.export(network, tmp_path / "net.py", example=given)
    module = ModuleType("exported")
    module.__file__ = str(tmp_path / "net.py")
    exec(compile((tmp_path / "net.py").read_text(), "net.py", "exec"), module.__dict__)
    call = example_of(network, given)
    with torch.no_grad():
        assert same(call.call(module.load()), call.call(network.eval()))


@pytest.mark.slow
def test_a_segmenter_as_a_program_of_any_size(tmp_path: Path) -> None:
    (images, _), *_ = masks(0)
    found = nasp.search(Segmenter(), masks(0), masks(1), task=unknown_left_out, epochs=1)
    for name in ("net.onnx", "net.pt2"):
        exported = nasp.export(found.build(), tmp_path / name, example=images, dynamic=(2, 3))
        assert exported.difference < 1e-3
