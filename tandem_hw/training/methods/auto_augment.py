"""AutoAugment's policy for CIFAR-10, with the rules and operations of torchvision.

A rule is two operations, each with a probability and a magnitude; every image draws a rule. Images
of a batch that an operation changes alike are changed together. The random numbers come from the
training's generator, and all is computed on the CPU, where images that are turned are augmented:
the same seed gives the same images, whatever the device.

Source: Cubuk et al., arXiv 1805.09501, tables 6 and 7.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from types import ModuleType
from typing import Final

import torch
from torch import Tensor

from tandem_hw.errors import DataError, how_to_install

#: Name of an operation, its probability, and its magnitude in ninths of the largest.
Operation = tuple[str, float, int | None]
#: The largest magnitudes: degrees, a slope, a share of the side, a share of the effect.
_LARGEST: Final = {
    "Rotate": 30.0,
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 150 / 331,
    "TranslateY": 150 / 331,
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
}
_NINTHS: Final = 9
_CHANNELS: Final = (1, 3)


def check_policy(shape: tuple[int, ...]) -> None:
    """Refuse what the policy cannot change, before a training.

    Args:
        shape: of one sample.

    Raises:
        DataError: torchvision is missing, or the samples are no grey or coloured images.
    """
    if len(shape) != 3 or shape[0] not in _CHANNELS:
        raise DataError(
            f"augmentation autoaugment: samples have shape {shape}; images (channels, height, "
            f"width) of 1 or 3 channels are needed; train without it"
        )
    _torchvision()


def auto_augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change every image by a rule of the policy.

    Args:
        images: uint8 or floating point in [0, 1], [batch, 1 or 3, height, width], on the CPU.
        generator: of the random numbers, on the CPU.

    Raises:
        DataError: torchvision is missing.
    """
    rules, functional = _torchvision()
    images = images.clone()
    chosen = torch.randint(len(rules), (len(images),), generator=generator).tolist()
    chances = torch.rand((2, len(images)), generator=generator, dtype=torch.float64).tolist()
    signs = torch.randint(2, (2, len(images)), generator=generator).tolist()
    for which in range(2):
        alike: dict[tuple[str, int | None, int], list[int]] = defaultdict(list)
        for index, rule in enumerate(chosen):
            name, probability, magnitude = rules[rule][which]
            if chances[which][index] < probability:
                sign = 1 - 2 * signs[which][index] if name in _LARGEST else 1
                alike[name, magnitude, sign].append(index)
        for (name, magnitude, sign), indices in alike.items():
            images[indices] = _changed(images[indices], name, magnitude, sign, functional)
    return images


def _changed(
    images: Tensor, name: str, magnitude: int | None, sign: int, functional: ModuleType
) -> Tensor:
    """Apply one operation to all images alike."""
    ninths = magnitude or 0
    amount = sign * ninths / _NINTHS * _LARGEST.get(name, 1.0)
    height, width = images.shape[2:]
    largest = 255 if images.dtype == torch.uint8 else 1.0
    slope = math.degrees(math.atan(amount))
    found: Tensor
    match name:
        case "Rotate":
            found = functional.rotate(images, amount)
        case "ShearX":
            found = functional.affine(images, 0.0, [0, 0], 1.0, [slope, 0.0], center=[0, 0])
        case "ShearY":
            found = functional.affine(images, 0.0, [0, 0], 1.0, [0.0, slope], center=[0, 0])
        case "TranslateX":
            found = functional.affine(images, 0.0, [int(amount * width), 0], 1.0, [0.0, 0.0])
        case "TranslateY":
            found = functional.affine(images, 0.0, [0, int(amount * height)], 1.0, [0.0, 0.0])
        case "Brightness":
            found = functional.adjust_brightness(images, 1 + amount)
        case "Color":
            found = functional.adjust_saturation(images, 1 + amount)
        case "Contrast":
            found = functional.adjust_contrast(images, 1 + amount)
        case "Sharpness":
            found = functional.adjust_sharpness(images, 1 + amount)
        case "Posterize":
            found = functional.posterize(images, 8 - round(ninths * 4 / _NINTHS))
        case "Solarize":
            found = functional.solarize(images, largest * (1 - ninths / _NINTHS))
        case "AutoContrast":
            found = functional.autocontrast(images)
        case "Equalize":
            found = functional.equalize(images)
        case "Invert":
            found = functional.invert(images)
        case _:
            raise DataError(
                f'augmentation autoaugment: this torchvision\'s policy has an operation "{name}", '
                f"which is not known; use another version of torchvision, or train without it"
            )
    return found


@lru_cache(maxsize=1)
def _torchvision() -> tuple[list[tuple[Operation, Operation]], ModuleType]:
    """Return the policy's rules, and the module of its operations.

    Raises:
        DataError: torchvision cannot be imported.
    """
    try:
        from torchvision.transforms import AutoAugment, AutoAugmentPolicy
        from torchvision.transforms.v2 import functional
    # A torchvision that does not match the installed torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"augmentation autoaugment needs torchvision, which cannot be imported ({error}): "
            f"{how_to_install('vision')}"
        ) from error
    return AutoAugment(AutoAugmentPolicy.CIFAR10).policies, functional
