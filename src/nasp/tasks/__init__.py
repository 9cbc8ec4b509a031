"""What a network is for: data, loss and metrics."""

from nasp.tasks.augment import Cutout, ImageTransform, augmentation, plain
from nasp.tasks.corpora import is_text, load_text
from nasp.tasks.datasets import default_root, load_images
from nasp.tasks.image import ImageClassification, evaluate
from nasp.tasks.image_set import ImageSet, LabelledImages, LazyImages
from nasp.tasks.language import LanguageModelling
from nasp.tasks.loader import Loader
from nasp.tasks.splits import halves, split
from nasp.tasks.task import Batch, Metrics, Task
from nasp.tasks.text import Corpus
from nasp.tasks.text_loader import TextLoader

__all__ = [
    "Batch",
    "Corpus",
    "Cutout",
    "ImageClassification",
    "ImageSet",
    "ImageTransform",
    "LabelledImages",
    "LanguageModelling",
    "LazyImages",
    "Loader",
    "Metrics",
    "Task",
    "TextLoader",
    "augmentation",
    "default_root",
    "evaluate",
    "halves",
    "is_text",
    "load_images",
    "load_text",
    "plain",
    "split",
]
