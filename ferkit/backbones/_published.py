"""Functions that get the weights published by torchvision and timm."""

import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch


def torchvision_weights(name, weights):
    """Return published weights as (state dict, mean, standard deviation), from torchvision's cache or its site."""
    import torchvision

    published = torchvision.models.get_model_weights(name)
    try:
        entry = published.DEFAULT if weights == "imagenet" else published[weights]
    except KeyError:
        raise ValueError(
            f'Expected the name of torchvision weights for {name}, got {weights!r}: pass "imagenet", '
            f"{', '.join(repr(entry.name) for entry in published)}, or the path of a .pth or .safetensors file."
        ) from None
    place = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
    from_tensorflow = name in ("googlenet", "inception_v3")  # with TensorFlow's pixel scale
    params = {"aux_logits": True} if from_tensorflow else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # GoogLeNet warns about its auxiliary heads
            state = torchvision.models.get_model(name, weights=entry, progress=False, **params).state_dict()
    except (URLError, OSError) as error:
        raise OSError(
            f"The weights {entry} could not be downloaded ({error}): download {entry.url} on another machine and save "
            f"the file as {place}"
        ) from error
    except Exception as error:
        raise OSError(
            f"The weights in {place} are damaged: delete that file, or replace it with {entry.url}"
        ) from error
    if from_tensorflow:
        return state, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    transforms = entry.transforms()
    return state, transforms.mean, transforms.std


def timm_weights(name, weights):
    """Return weights published by timm as (state dict, mean, standard deviation): "imagenet" or one of its tags."""
    try:
        import timm
    except ImportError:
        raise ImportError(f'The weights of timm/{name} need timm: pip install "ferkit[timm]"') from None
    tagged = name if weights == "imagenet" else f"{name.partition('.')[0]}.{weights}"
    try:
        network = timm.create_model(tagged, pretrained=True)
    except RuntimeError as error:
        raise ValueError(f"Expected the name of timm weights for {name}, got {weights!r}: {error}") from error
    except Exception as error:  # the kind depends on the library with which timm downloads
        raise OSError(
            f"The weights of timm/{tagged} could not be downloaded ({error}): download them on another machine and "
            "pass the path of the .safetensors file as `weights`."
        ) from error
    settings: Any = network.pretrained_cfg
    return network.state_dict(), settings["mean"], settings["std"]
