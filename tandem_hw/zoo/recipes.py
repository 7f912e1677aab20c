"""Recipes: everything that a training needs to give a number of the documentation again.

A recipe names values for options of ``tandem-hw train``; options that are given beside it win.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tandem_hw.network.choices import EVENTS

#: What all trainings on handwritten digits share.
_DIGITS: Final[dict[str, Any]] = {
    "model": "mnistnet",
    "reset": "subtract",
    "initial_potential": 0.5,
    "augmentation": "mnist",
    "synop_weight": 0.2,
    "validation": 0.0,
}
#: What all trainings on small photographs share.
_PHOTOS: Final[dict[str, Any]] = {
    "data": "cifar10",
    "reset": "subtract",
    "initial_potential": 0.5,
    "learn_thresholds": True,
    "augmentation": "cifar",
    "weight_decay": 0.0,
    "validation": 0.0,
}


#: What trainings of the field on small photographs share, for a GPU: QCFS's (Bu et al., ICLR 2022),
#: with the network that is trained at the window it runs in.
_FIELD: Final[dict[str, Any]] = {
    "num_steps": 4,
    "reset": "subtract",
    "firing_delay": 1,
    "initial_potential": 0.5,
    "learn_thresholds": True,
    "augmentation": "cifar+autoaugment+cutout",
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    "clip_gradient": 5.0,
    "warm_up": 5,
    "ema": 0.999,
    "batch_size": 128,
    "epochs": 300,
    "validation": 0.0,
}
_OF_CIFAR: Final[dict[str, dict[str, Any]]] = {
    "cifar10": {"data": "cifar10", "learning_rate": 0.1},
    "cifar100": {"data": "cifar100", "learning_rate": 0.05},
}
_CIFAR_NETWORKS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "cifarnet": ("the paper's CifarNet", {}),
    "vgg16": ("VGG-16", {}),
    "resnet18": ("ResNet-18", {"activation_max": 8.0}),  # as for the ResNet-20 below
    "resnet20": ("ResNet-20", {"activation_max": 8.0}),
}

#: What trainings on recordings share: the steps are the recording's own.
_RECORDINGS: Final[dict[str, Any]] = {
    "encoding": EVENTS,
    "reset": "subtract",
    "initial_potential": 0.5,
    "learn_thresholds": True,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "warm_up": 2,
    "ema": 0.999,
}


@dataclass(frozen=True)
class Recipe:
    """Values for the options of a training.

    Attributes:
        purpose: what it is for, one line.
        settings: by name of an option of ``tandem-hw train``, its value; "data" is the data set.
    """

    purpose: str
    settings: MappingProxyType[str, Any]


def _recipe(purpose: str, *parts: dict[str, Any]) -> Recipe:
    merged = {name: value for part in parts for name, value in part.items()}
    return Recipe(purpose, MappingProxyType(merged))


def _cifar_recipes() -> dict[str, Recipe]:
    """Return a recipe for each network on CIFAR-10 and CIFAR-100, as the field trains them."""
    return {
        f"{model}-{data}": _recipe(
            f"{title} on CIFAR-{data.removeprefix('cifar')} in 4 steps as the field trains, for a "
            f"GPU with torchvision",
            _FIELD,
            {"model": model},
            of_data,
            of_network,
        )
        for model, (title, of_network) in _CIFAR_NETWORKS.items()
        for data, of_data in _OF_CIFAR.items()
    }


RECIPES: Final[dict[str, Recipe]] = {
    "mnist": _recipe(
        "MNIST with 8-bit weights in 7 steps",
        _DIGITS,
        {"data": "mnist", "num_steps": 7, "epochs": 10},
    ),
    "mnist-short": _recipe(
        "MNIST with 8-bit weights in 3 steps, each layer waiting for one",
        _DIGITS,
        {
            "data": "mnist",
            "num_steps": 3,
            "firing_delay": 1,
            "learn_thresholds": True,
            "synop_weight": 0.1,
            "epochs": 15,
        },
    ),
    "mnist-wide": _recipe(
        "MNIST with 8-bit weights in 3 steps, by a wider network and the average of its weights",
        _DIGITS,
        {
            "data": "mnist",
            "model": "widemnistnet",
            "num_steps": 3,
            "firing_delay": 1,
            "learn_thresholds": True,
            "synop_weight": 0.03,
            "ema": 0.999,
            "epochs": 20,
        },
    ),
    "mnist-4bit": _recipe(
        "MNIST with 4-bit weights in 7 steps",
        _DIGITS,
        {"data": "mnist", "num_steps": 7, "weight_bits": 4, "epochs": 10},
    ),
    "cifarnet": _recipe(
        "the paper's CifarNet on CIFAR-10 in 8 steps, for a GPU",
        _PHOTOS,
        {"model": "cifarnet", "num_steps": 8, "batch_size": 128, "epochs": 150},
    ),
    "vgg16": _recipe(
        "VGG-16 on CIFAR-10 in 4 steps, for a GPU",
        _PHOTOS,
        {"model": "vgg16", "num_steps": 4, "batch_size": 128, "epochs": 200},
    ),
    "resnet20": _recipe(
        "ResNet-20 on CIFAR-10 in 4 steps, for a GPU",
        _PHOTOS,
        {
            "model": "resnet20",
            "num_steps": 4,
            "activation_max": 8.0,  # sums of a skip and a block grow from block to block
            "batch_size": 128,
            "epochs": 150,
        },
    ),
    "residual-digits": _recipe(
        "ResNet-20 on the 8x8 digits of scikit-learn in 7 steps",
        {
            "data": "digits",
            "model": "resnet20",
            "num_steps": 7,
            "initial_potential": 0.5,
            "learn_thresholds": True,
            "activation_max": 6.0,
            "epochs": 15,
        },
    ),
    "autoencoder-digits": _recipe(
        "an autoencoder of the 8x8 digits of scikit-learn in 7 steps",
        {
            "data": "digits",
            "model": "autoencoder",
            "objective": "reconstruction",
            "num_steps": 7,
            "initial_potential": 0.5,
            "learn_thresholds": True,
            "batch_size": 16,
            "learning_rate": 1e-2,
            "epochs": 30,
        },
    ),
    "diabetes": _recipe(
        "how far a disease gets in a year, from ten measurements (scikit-learn), in 7 steps",
        {
            "data": "diabetes",
            "model": "mlp",
            "objective": "regression",
            "num_steps": 7,
            "input_bits": 6,
            "initial_potential": 0.5,
            "learn_thresholds": True,
            "batch_size": 16,
            "learning_rate": 5e-3,
            "weight_decay": 0.03,
            "validation": 0.0,
            "epochs": 20,
        },
    ),
    "moving-digits": _recipe(
        "events of moving digits in 7 steps",
        {"data": "moving-digits", "model": "lenet", "encoding": EVENTS, "num_steps": 7},
    ),
    "nmnist": _recipe(
        "N-MNIST in 8 steps, with tonic",
        _RECORDINGS,
        {"data": "nmnist", "model": "mnistnet", "num_steps": 8, "epochs": 15},
    ),
    "dvs-gesture": _recipe(
        "DVS Gesture in 16 steps, with tonic",
        _RECORDINGS,
        {
            "data": "dvs-gesture",
            "model": "eventnet",
            "num_steps": 16,
            "augmentation": "shift",
            "batch_size": 16,
            "epochs": 100,
        },
    ),
    "cifar10-dvs": _recipe(
        "CIFAR10-DVS in 10 steps, with tonic",
        _RECORDINGS,
        {
            "data": "cifar10-dvs",
            "model": "eventnet",
            "num_steps": 10,
            "augmentation": "cifar",
            "batch_size": 32,
            "epochs": 100,
        },
    ),
    "shd": _recipe(
        "the Spiking Heidelberg Digits in 16 steps, with tonic",
        _RECORDINGS,
        {"data": "shd", "model": "mlp", "num_steps": 16, "epochs": 60},
    ),
    "signals": _recipe(
        "speech, biosignals or any other arrays [N, channels, length] of yours in 8 steps",
        {
            "data": "npz:signals.npz,layout=NCL",
            "model": "signalnet",
            "num_steps": 8,
            "input_bits": 8,
            "reset": "subtract",
            "firing_delay": 1,
            "initial_potential": 0.5,
            "learn_thresholds": True,
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "label_smoothing": 0.1,
            "epochs": 30,
        },
    ),
    **_cifar_recipes(),
}
