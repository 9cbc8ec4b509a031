"""What a network is for: data, loss and metrics."""

from nasp.tasks.augment import Cutout, ImageTransform, augmentation, plain
from nasp.tasks.datasets import default_root, load_images
from nasp.tasks.image import ImageClassification, evaluate
from nasp.tasks.image_set import ImageSet, LabelledImages, LazyImages
from nasp.tasks.loader import Loader
from nasp.tasks.splits import halves, split
from nasp.tasks.task import Batch, Metrics, Task

__all__ = [
    "Batch",
    "Cutout",
    "ImageClassification",
    "ImageSet",
    "ImageTransform",
    "LabelledImages",
    "LazyImages",
    "Loader",
    "Metrics",
    "Task",
    "augmentation",
    "default_root",
    "evaluate",
    "halves",
    "load_images",
    "plain",
    "split",
]
