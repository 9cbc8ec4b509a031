"""Image classification."""

from __future__ import annotations

from nasp.domains.domain import Domain, HandMade
from nasp.domains.images import networks
from nasp.domains.images.baseline import residual_network
from nasp.domains.images.data import ImageConfig, known_shape, read_images
from nasp.domains.images.datasets import IMAGE_SETS
from nasp.domains.images.defaults import DIGITS, default_space, search_defaults, train_defaults
from nasp.domains.images.evaluate import evaluate
from nasp.domains.images.mobilenet import mobilenet
from nasp.domains.images.service import IN_SERVICE
from nasp.domains.images.train import ImageTrainConfig
from nasp.spaces import NetworkConfig

IMAGES = Domain(
    name="images",
    data_names=IMAGE_SETS,
    embedded=DIGITS,
    data=ImageConfig,
    supernet=networks.ImageSupernet,
    train=ImageTrainConfig,
    network=NetworkConfig,
    shape=("in_channels", "image_size", "classes"),
    by_hand={
        "resnet": HandMade("hand-made residual network", residual_network),
        "mobilenet": HandMade("hand-made MobileNetV3-small", mobilenet),
    },
    default_space=default_space,
    search_defaults=search_defaults,
    train_defaults=train_defaults,
    read=read_images,
    known_shape=known_shape,
    sized=networks.sized,
    example=networks.example,
    stand_in=networks.stand_in,
    target=networks.target,
    described=networks.described,
    evaluate=evaluate,
    in_service=IN_SERVICE,
)
"""Images of any size, each of one class."""
