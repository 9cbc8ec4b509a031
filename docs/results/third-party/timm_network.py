"""Search, build, train and export a ConvNeXt of timm: which kernel each block needs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp


def network() -> nn.Module:
    """Return the smallest ConvNeXt with random weights; each block chooses its depthwise kernel."""
    found = timm.create_model("convnext_atto", num_classes=10, in_chans=1, drop_path_rate=0.1)
    for stage in found.stages:
        for block in stage.blocks:
            width = block.conv_dw.in_channels
            kernels = {
                f"conv{k}": nn.Conv2d(width, width, k, padding=k // 2, groups=width) for k in (3, 5)
            }
            block.conv_dw = nasp.Choice({**kernels, "conv7": block.conv_dw})
    return found


def images(start: int, end: int) -> TensorDataset:
    """Return the digits of scikit-learn at four times their size."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[start:end]
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16
    return TensorDataset(F.interpolate(x, scale_factor=4), torch.tensor(y)[order])


def main() -> None:
    """Do it, and print what came out."""
    torch.manual_seed(0)
    half, other, test = images(0, 600), images(600, 1200), images(1200, 1797)
    loaders = [DataLoader(part, 32, shuffle=True, drop_last=True) for part in (half, other)]
    found = nasp.search(network(), *loaders, epochs=2, lr=0.02, at_most={"macs": "10.7M"})
    print(dict(found.architecture.edges), found.bounds[0].sentence(), sep="\n")
    child = found.build("fresh")
    optimizer = torch.optim.AdamW(child.train().parameters(), 2e-3)
    for _ in range(6):
        for loader in loaders:
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(child(x), y).backward()
                optimizer.step()
    x, y = test.tensors
    with torch.no_grad():
        accuracy = (child.eval()(x).argmax(1) == y).float().mean()
    count = sum(p.numel() for p in child.parameters())
    print(f"test accuracy {float(accuracy):.3f}, parameters {count:,}")
    example: Tensor = x[:2]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("net.py", "net.onnx", "net.pt2"):
            exported = nasp.export(child, Path(folder) / name, example=example)
            print(exported.to, f"largest difference {exported.difference:.1e}")


if __name__ == "__main__":
    main()
