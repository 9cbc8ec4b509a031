"""The tables of NAS-Bench-201 in NATS-Bench's own files, through its own package.

Source: Dong, Liu, Musial, Gabrys, "NATS-Bench", TPAMI 2021; the package ``nats_bench``. Its files
are pickles, which that package loads: give only a file that you trust.
"""

from __future__ import annotations

import importlib
from typing import Any

from nasp.errors import NaspError

PREFIX = "nats:"
DATA = "cifar10"
EPOCHS = "200"
"""The longest training in the files."""


def read_nats(path: str) -> dict[str, float]:
    """Return cell -> test accuracy on CIFAR-10 in per cent after 200 epochs, mean over seeds.

    Args:
        path: what NATS-Bench's topology space was unpacked to: a folder such as
            ``NATS-tss-v1_0-3ffb9-simple``, or one large ``.pickle.pbz2``.

    Raises:
        NaspError: the package is missing, or it cannot read the files.
    """
    try:
        package: Any = importlib.import_module("nats_bench")
    except ImportError as error:
        raise NaspError(
            "Reading NATS-Bench's own files needs its package: pip install 'nasp-torch[nats]'."
        ) from error
    try:
        # A folder has a small file a cell, read when it is asked for; a file must be read whole.
        is_folder = not path.endswith(".pbz2")
        api = package.create(path, "tss", fast_mode=is_folder, verbose=False)
        return {
            str(api.arch(index)): float(
                api.get_more_info(index, DATA, hp=EPOCHS, is_random=False)["test-accuracy"]
            )
            for index in range(len(api))
        }
    # Its code and the pickles fail in any way at all; for the user all are one.
    except Exception as error:
        raise NaspError(f"nats_bench cannot read {path} ({error!r}).") from error
