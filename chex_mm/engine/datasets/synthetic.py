"""A small instance-segmentation set, drawn by the project itself.

Textured shapes on textured ground, written to disk in COCO format so that
the stock `CocoDataset` reads them. Only the outline tells the class: colour,
texture, size and rotation follow the same distributions for all of them, and
one seed always gives the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from .recipe import write_once

SIZE = 128  # pixels per side of an image
RADIUS = (9.0, 30.0)  # pixels from a shape's centre to its corners
MOST_SHAPES = 6
LEAST_VISIBLE = 0.6  # share of a shape that later ones must leave visible
CORNERS = {'disc': 32, 'square': 4, 'triangle': 3, 'star': 10}
CLASSES = tuple(CORNERS)
IMAGES = {'train': 320, 'val': 80}


def write_shapes(
    directory: str | Path,
    images: Mapping[str, int] = IMAGES,
    seed: int = 0,
) -> Path:
    """Writes `<split>/*.png` and `<split>.json` for every split.

    A polygon is the whole outline of its shape, also where a later shape
    hides a part of it: always one simple polygon inside the image.

    Args:
        directory: Where to; a set of the same recipe is left as it is.
        images: Number of images per split.
        seed: Decides every pixel.

    Returns:
        `directory`, finished.

    Raises:
        ValueError: `directory` exists and holds something else.
    """
    recipe = {'images': dict(images), 'seed': seed, 'size': SIZE}

    def fill(root: Path) -> None:
        for number, (split, count) in enumerate(images.items()):
            (root / split).mkdir()
            rng = np.random.default_rng([seed, number])
            _write_split(root, split, count, rng)

    return write_once(directory, recipe, fill)


def _write_split(root, split, count, rng):
    records, annotations = [], []
    for number in range(1, count + 1):
        image, shapes = draw_image(rng)
        name = f'{number:06d}.png'
        cv2.imwrite(str(root / split / name), image)
        records.append(
            {'id': number, 'file_name': name, 'width': SIZE, 'height': SIZE}
        )
        for label, outline in shapes:
            entry = {'id': len(annotations) + 1, 'image_id': number}
            annotations.append(entry | annotate(label, outline))
    content = {
        'images': records,
        'annotations': annotations,
        'categories': [
            {'id': number, 'name': name}
            for number, name in enumerate(CLASSES, 1)
        ],
    }
    (root / f'{split}.json').write_text(json.dumps(content))


def annotate(label: int, outline: np.ndarray) -> dict:
    """The COCO fields of one shape; category ids start at 1."""
    low, high = outline.min(0), outline.max(0)
    x, y = outline.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return {
        'category_id': label + 1,
        'bbox': np.concatenate([low, high - low]).round(2).tolist(),
        'segmentation': [outline.flatten().tolist()],
        'area': float(area),
        'iscrowd': 0,
    }


def draw_image(
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """An image, and (label, outline) of the shapes from back to front."""
    base = rng.uniform(0, 255, 3)
    image, colours = draw_texture(rng, base), [base]
    shapes, whole, visible = [], [], []
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        label = int(rng.integers(len(CLASSES)))
        outline = draw_outline(rng, CLASSES[label])
        cover = rasterise(outline)
        left = [seen * (1 - cover) for seen in visible]
        if any(
            now.sum() < LEAST_VISIBLE * full.sum()
            for now, full in zip(left, whole)
        ):
            continue
        colour = _unlike(rng, colours)
        image += cover[..., None] * (draw_texture(rng, colour) - image)
        colours.append(colour)
        shapes.append((label, outline))
        whole.append(cover)
        visible = [*left, cover]
    return image.round().astype(np.uint8), shapes


def draw_outline(rng: np.random.Generator, name: str) -> np.ndarray:
    """Corners of one shape, somewhere in the image, (corners, 2) as x, y."""
    radius = np.exp(rng.uniform(*np.log(RADIUS)))
    centre = rng.uniform(radius, SIZE - radius, 2)
    turns = np.arange(CORNERS[name]) / CORNERS[name] + rng.random()
    reach = np.full(CORNERS[name], radius)
    if name == 'star':
        reach[1::2] *= 0.45
    along = np.stack([np.cos(turns * 2 * np.pi), np.sin(turns * 2 * np.pi)], 1)
    # Rounded here, so that the drawn and the written outline are the same.
    return (centre + reach[:, None] * along).round(2)


def rasterise(outline: np.ndarray) -> np.ndarray:
    """How much of each pixel a shape covers, 0 to 1, (SIZE, SIZE)."""
    fine = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    # COCO counts from a pixel's corner, cv2 from its centre; `shift` bits of
    # fraction.
    corners = ((4 * outline - 0.5) * 16).round().astype(np.int32)
    cv2.fillPoly(fine, [corners], 255, shift=4)
    return cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255


def draw_texture(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Noise, stripes or a gradient about a colour, (SIZE, SIZE, 3)."""
    angle, wavelength = rng.uniform(0, 2 * np.pi), rng.uniform(5, 16)
    y, x = np.mgrid[:SIZE, :SIZE]
    ramp = np.cos(angle) * (x - SIZE / 2) + np.sin(angle) * (y - SIZE / 2)
    pattern = (
        rng.uniform(-1, 1, (SIZE, SIZE)),
        np.sin(ramp * 2 * np.pi / wavelength),
        ramp / SIZE,
    )[rng.integers(3)]
    contrast = rng.uniform(-60, 60, 3)
    return (colour + pattern[..., None] * contrast).clip(0, 255)


def _unlike(rng, colours):
    """The one of four random colours that is farthest from `colours`."""
    drawn = rng.uniform(0, 255, (4, 3))
    apart = np.linalg.norm(drawn[:, None] - np.stack(colours), axis=-1)
    return drawn[apart.min(1).argmax()]
