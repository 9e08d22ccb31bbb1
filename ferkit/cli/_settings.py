"""Options that ``ferkit train`` and ``ferkit compare`` share."""

import ast
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

import ferkit

from ._errors import as_bad_usage
from ._options import Drop, Force


@dataclass
class Training:
    """Options that `train` and `compare` share."""

    data: Annotated[
        Path | None, Argument(help="CSV file, archive or folder of images. Without it, faces are drawn.")
    ] = None
    recipe: Annotated[
        Literal["fast", "balanced", "best"] | None, Option(help="Named settings; other options override them.")
    ] = None
    epochs: Annotated[
        int | None, Option(min=1, help="Number of passes over the training images. By default 24, or the recipe's.")
    ] = None
    batch_size: Annotated[
        int | None, Option(min=1, help="Number of images per batch. By default, 8 to 256, depending on their number.")
    ] = None
    lr: Annotated[float | None, Option(min=1e-12, help="Learning rate. By default, the backbone's own.")] = None
    input_size: Annotated[int | None, Option(min=1, help="Resize images to this height and width on the device.")] = (
        None
    )
    augment: Annotated[bool, Option(help="Augment the training images.")] = True
    mixup: Annotated[
        float | None, Option(min=0, help="Mixup parameter. By default, 0.2 in trainings of 40 epochs or more.")
    ] = None
    balanced: Annotated[bool, Option("--balanced", help="Weight classes by inverse frequency.")] = False
    validation: Annotated[
        float,
        Option(
            min=0,
            max=0.9,
            help="Fraction of the training images to hold out and score every epoch on. With 0, every epoch is scored "
            "on the test images.",
        ),
    ] = 0
    device: Annotated[str, Option(help="cpu, cuda, mps, or auto for a GPU if there is one.")] = "auto"
    seed: Annotated[int, Option(min=0, help="Random seed.")] = 0
    more: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other parameter of FERClassifier, such as --set lr_schedule=null; can be repeated. keep_best, "
            "early_stopping and lr_schedule=plateau select on the test images, which makes the score too high. With "
            "--validation, they select on the held-out training images.",
        ),
    ] = None
    drop_errors: Drop = False
    force: Force = False

    def build(self, backbone: str, option: str = "--backbone") -> "ferkit.FERClassifier":
        """Return the classifier that the options describe. ``option`` is the one that names the backbone."""
        with as_bad_usage(option):
            ferkit.backbones.resolve_backbone(backbone)
        with as_bad_usage("--device"):
            ferkit.training.resolve_device(self.device)
        given = {
            "max_epochs": self.epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "input_size": self.input_size,
            "mixup": self.mixup,
        }
        build = partial(ferkit.recipes.make_classifier, self.recipe) if self.recipe else ferkit.FERClassifier
        model = build(
            backbone=backbone,
            validation_fraction=self.validation,
            class_weight="balanced" if self.balanced else None,
            device=self.device,
            random_state=self.seed,
            verbose=1,
            **{name: value for name, value in given.items() if value is not None},
        )
        if not self.augment:
            model.set_params(augment=None)
        elif model.augment == "auto":  # an object, so that --set reaches its parameters
            model.set_params(augment=ferkit.ImageAugmenter())
        with as_bad_usage("--set"):
            for option in self.more or []:
                name, equals, value = option.partition("=")
                if not equals or name == "backbone":
                    raise ValueError(f"Expected NAME=VALUE of a parameter other than the backbone, got {option}.")
                for parse in (ast.literal_eval, json.loads):  # a Python or JSON value; otherwise a word
                    with suppress(ValueError, SyntaxError):
                        value = parse(value)
                        break
                model.set_params(**{name: value})
        with as_bad_usage(None):
            model._validate_params()
        return model


def with_training_options(command):
    """Replace the first parameter of a command, a `Training`, with one option per field."""
    _, *own = signature(command).parameters.values()
    shared = signature(Training).parameters

    @wraps(command)
    def wrapped(**given):
        command(Training(**{name: given.pop(name) for name in shared}), **given)

    # typer reads the options from the signature
    wrapped.__signature__ = Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    return wrapped
