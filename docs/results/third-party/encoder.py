"""Search, build, train and export a BERT of Hugging Face: which sublayer each layer needs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from mixing import Mixing
from torch import Tensor, nn
from transformers import BatchEncoding, BertConfig, BertForSequenceClassification

import nasp

WORDS, LENGTH, WIDTH = 30, 12, 32


def encoder() -> nn.Module:
    """Return a small BERT with random weights; each layer chooses what mixes its tokens."""
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=2,
        pad_token_id=0,
    )
    network = BertForSequenceClassification(config)
    for layer in network.bert.encoder.layer:
        layer.attention = nasp.Choice({"attention": layer.attention, "mixing": Mixing(WIDTH)})
    return network


def batches(count: int, seed: int) -> list[BatchEncoding]:
    """Return texts of several lengths; the label says whether word 2 is there."""
    generator, found = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        words = torch.randint(3, WORDS, (32, LENGTH), generator=generator)
        lengths = torch.randint(6, LENGTH + 1, (32, 1), generator=generator)
        mask = (torch.arange(LENGTH) < lengths).long()
        labels = torch.arange(32) % 2
        words[labels == 1, torch.randint(6, (16,), generator=generator)] = 2
        text = {"input_ids": words * mask, "attention_mask": mask, "labels": labels}
        found.append(BatchEncoding(text))
    return found


class Classification:
    """The loss that the network computes itself."""

    def loss(self, network: nn.Module, batch: BatchEncoding) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the accuracy."""
        output = network(**batch)
        accuracy = (output.logits.argmax(1) == batch["labels"]).float().mean()
        return output.loss, {"accuracy": accuracy.detach()}


def main() -> None:
    """Do it, and print what came out."""
    torch.manual_seed(0)
    task = Classification()
    found = nasp.search(
        encoder(), batches(40, 0), batches(40, 1), task=task, epochs=3, at_most={"macs": "400K"}
    )
    print(dict(found.architecture.edges), found.bounds[0].sentence(), sep="\n")
    network = found.build()
    optimizer = torch.optim.AdamW(network.train().parameters(), 1e-3)
    train = batches(80, 2)
    for batch in train * 6:
        loss, _ = task.loss(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        network.eval()
        test = [float(task.loss(network, batch)[1]["accuracy"]) for batch in batches(10, 3)]
    count = sum(p.numel() for p in network.parameters())
    print(f"test accuracy {sum(test) / len(test):.3f}, parameters {count:,}")
    text = batches(1, 3)[0]
    example = {name: text[name] for name in ("input_ids", "attention_mask")}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("encoder.py", "encoder.onnx", "encoder.pt2"):
            exported = nasp.export(network, Path(folder) / name, example=example)
            print(exported.to, f"largest difference {exported.difference:.1e}")


if __name__ == "__main__":
    main()
