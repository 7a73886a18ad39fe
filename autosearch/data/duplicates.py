"""Finding the same picture twice: to the byte, to the eye, and shot in one burst."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Images
from autosearch.data.photos import Photo

__all__ = ["bursts", "clusters", "exact_duplicates", "identical_images", "near_duplicates"]

# Measured on photos of single objects on one background: saved again at quality 30 or half the
# size they differ in up to 7 bits and correlate ≥ 0.993; brightened by a tenth in 3 bits (95 %).
# Among 2,527 different ones these bounds join 15 pairs, which are of one object each.
_MAX_BITS = 7
_MIN_CORRELATION = 0.985
# Below this spread of luma an image is flat, and everything flat looks alike.
_MIN_SPREAD = 6.0
_PAIRS_AT_ONCE = 4_000_000
_COMPARED_AT_ONCE = 20_000

_BURST_SECONDS = 2.0
# A longer run is no burst but a date that a program wrote into every file.
_MAX_BURST = 20


def exact_duplicates(photos: Sequence[Photo]) -> list[list[int]]:
    """Sets of two and more files with the same bytes, as ascending indices."""
    return _repeated(photo.sha256 for photo in photos)


def identical_images(images: Images) -> list[list[int]]:
    """Sets of two and more images with the same shape and pixels, as ascending indices."""
    return _repeated(
        (image.shape, hashlib.blake2b(np.asarray(image).tobytes(), digest_size=16).digest())
        for image in images
    )


def near_duplicates(photos: Sequence[Photo]) -> list[tuple[int, int]]:
    """Pairs that look alike: another size, quality or brightness of one picture.

    A 64-bit difference hash (after Krawetz, "Kind of Like That", 2013) proposes the pairs, and
    the correlation of small copies decides. Flat images are left out, exact duplicates too.

    Args:
        photos: Usable ones.

    Returns:
        At most one pair fewer than photos: whatever looks alike is joined by them, directly or
        through others. Of 5,000 frames of a film all 12 million pairs would be no use to anyone.
    """
    first: dict[str, int] = {}
    for index, photo in enumerate(photos):
        first.setdefault(photo.sha256, index)
    indices = np.array(list(first.values()), dtype=np.int64)
    if not len(indices):
        return []
    luma = np.stack([np.frombuffer(photos[i].luma, np.uint8) for i in indices]).astype(np.float32)
    lively = luma.std(axis=1) >= _MIN_SPREAD
    indices, luma = indices[lively], luma[lively]
    hashes = _difference_hashes(luma)
    luma -= luma.mean(axis=1, keepdims=True)
    luma /= np.linalg.norm(luma, axis=1, keepdims=True)
    pairs: list[tuple[int, int]] = []
    forest = _Forest(len(indices))
    roots = forest.roots()
    step = max(1, _PAIRS_AT_ONCE // max(1, len(indices)))
    for start in range(0, len(indices), step):
        later = hashes[start:]
        bits = np.bitwise_count(hashes[start : start + step, np.newaxis] ^ later)
        left, right = np.nonzero(bits <= _MAX_BITS)
        upper = right > left
        left, right = left[upper] + start, right[upper] + start
        for at in range(0, len(left), _COMPARED_AT_ONCE):
            a, b = left[at : at + _COMPARED_AT_ONCE], right[at : at + _COMPARED_AT_ONCE]
            apart = roots[a] != roots[b]
            a, b = a[apart], b[apart]
            alike = np.einsum("ij,ij->i", luma[a], luma[b]) >= _MIN_CORRELATION
            found = zip(a[alike].tolist(), b[alike].tolist(), strict=True)
            new = [(int(indices[x]), int(indices[y])) for x, y in found if forest.join(x, y)]
            if new:
                pairs.extend(new)
                roots = forest.roots()
    return pairs


def bursts(photos: Sequence[Photo]) -> list[list[int]]:
    """Runs of up to 20 photos, each by the same camera within 2 s of the one before, by EXIF."""
    by_camera: defaultdict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        if photo.taken is not None:
            by_camera[photo.camera].append(index)
    runs: list[list[int]] = []
    for indices in by_camera.values():
        indices.sort(key=lambda index: photos[index].taken or 0.0)
        run = indices[:1]
        for before, index in pairwise(indices):
            if (photos[index].taken or 0.0) - (photos[before].taken or 0.0) > _BURST_SECONDS:
                runs.append(run)
                run = []
            run.append(index)
        runs.append(run)
    return [run for run in runs if 2 <= len(run) <= _MAX_BURST]


def clusters(num_images: int, together: Iterable[Iterable[int]]) -> npt.NDArray[np.int64]:
    """Joins whatever belongs together, directly or through others.

    Args:
        num_images: How many images there are.
        together: Sets of indices, each of which must not be torn apart.

    Returns:
        (num_images,) cluster numbers from 0 on, in the order of their first image.

    Example:
        >>> clusters(5, [[0, 2], [2, 4]]).tolist()
        [0, 1, 0, 2, 0]
    """
    forest = _Forest(num_images)
    for members in together:
        chain = iter(members)
        first = next(chain, None)
        if first is None:
            continue
        for other in chain:
            forest.join(first, other)
    numbers: dict[Hashable, int] = {}
    return np.array(
        [numbers.setdefault(root, len(numbers)) for root in forest.roots().tolist()],
        dtype=np.int64,
    )


def _repeated(keys: Iterable[Hashable]) -> list[list[int]]:
    """The places of each key that comes more than once."""
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        places[key].append(index)
    return [indices for indices in places.values() if len(indices) > 1]


class _Forest:
    """Which of some numbers were joined, as trees."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def join(self, one: int, other: int) -> bool:
        """Joins the trees of two numbers; answers whether they were apart."""
        low, high = sorted((self._root(one), self._root(other)))
        self._parent[high] = low
        return low != high

    def roots(self) -> npt.NDArray[np.int64]:
        """(size,) the same number for all of a tree: the smallest of it."""
        return np.array([self._root(index) for index in range(len(self._parent))], dtype=np.int64)

    def _root(self, index: int) -> int:
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index


def _difference_hashes(luma: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """(n,) hashes of (n, 288) lumas: whether each of 8 × 9 cells is brighter than the next."""
    cells = luma.reshape(-1, 8, 2, 9, 2).mean(axis=(2, 4))
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(-1, 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
