"""Published weights and files of weights, and how they fit a network with another head or stem."""

import warnings
from functools import partial
from pathlib import Path
from urllib.error import URLError

import torch


def load_weights(network, head, state):
    """Copy a state dict into a network, all but a ``head`` (names of its parameters) for other classes.

    A stem for RGB images becomes one for gray images by summing its filters, which is what it does to an image whose
    three channels are the same.

    Raises
    ------
    ValueError
        If the state dict is of another network.
    """
    own = network.state_dict()
    # as nn.DataParallel calls them, and ferkit's own module
    state = {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in state.items()}
    fitting, wrong = {}, []
    for name, tensor in state.items():
        if name not in own:
            if name.partition(".")[0] in {part.partition(".")[0] for part in own}:
                wrong.append(f"{name} is unknown")  # of a whole part more, such as auxiliary heads, nothing is needed
            continue
        expected = own[name].shape
        if tensor.shape == expected:
            fitting[name] = tensor
        elif tensor.ndim == 4 and tensor.shape[1] == 3 and expected == (len(tensor), 1, *tensor.shape[2:]):
            fitting[name] = tensor.sum(dim=1, keepdim=True)
        elif name not in head:
            wrong.append(f"{name} is of shape {tuple(tensor.shape)}, expected {tuple(expected)}")
    given = state.keys() | head | {name for name in own if name.endswith("num_batches_tracked")}
    wrong += [f"{name} is missing" for name in own if name not in given]
    if wrong:
        raise ValueError(
            f"These weights are of another network than {type(network).__name__}: {', '.join(wrong[:3])}"
            + (f" and {len(wrong) - 3:,} more" if len(wrong) > 3 else "")
        )
    own.update(fitting)  # which keeps the version of each layer
    network.load_state_dict(own)


def read_weights(path):
    """State dict of a .pth, .pt or .safetensors file; nothing in it is run."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights at {path.absolute()}")
    load = partial(torch.load, map_location="cpu", weights_only=True)
    if path.suffix.lower() == ".safetensors":
        try:
            from safetensors.torch import load_file as load
        except ImportError:
            raise ImportError(f'Reading {path.name} needs safetensors: pip install "ferkit[timm]"') from None
    try:
        state = load(path)
    except Exception as error:  # each format has its own; torch's advises to load what can run code
        raise ValueError(
            f"{path} is damaged, or no file of weights that can be read safely: expected a state dict, saved as "
            "torch.save(network.state_dict(), path)"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict: expected torch.save(network.state_dict(), path)")
    return state


def torchvision_weights(name, weights):
    """(state dict, mean, standard deviation) of published weights, from torchvision's cache or its site."""
    import torchvision

    published = torchvision.models.get_model_weights(name)
    try:
        entry = published.DEFAULT if weights == "imagenet" else published[weights]
    except KeyError:
        raise ValueError(
            f'torchvision has no weights {weights!r} for {name}: there are "imagenet", '
            f"{', '.join(repr(entry.name) for entry in published)}, or pass a path to a .pth or .safetensors file."
        ) from None
    place = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
    from_tensorflow = name in ("googlenet", "inception_v3")  # and standardised as there
    params = {"aux_logits": True} if from_tensorflow else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on GoogLeNet's auxiliary heads
            state = torchvision.models.get_model(name, weights=entry, progress=False, **params).state_dict()
    except (URLError, OSError) as error:
        raise OSError(
            f"The weights {entry} could not be downloaded ({error}): download {entry.url} on another machine and put "
            f"it to {place}"
        ) from error
    except Exception as error:
        raise OSError(f"The weights in {place} are damaged: delete that file, or put {entry.url} there") from error
    if from_tensorflow:
        return state, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    transforms = entry.transforms()
    return state, transforms.mean, transforms.std


def timm_weights(name, weights):
    """(state dict, mean, standard deviation) of weights that timm publishes: "imagenet" or one of its tags."""
    try:
        import timm
    except ImportError:
        raise ImportError(f'The weights of timm/{name} need timm: pip install "ferkit[timm]"') from None
    tagged = name if weights == "imagenet" else f"{name.partition('.')[0]}.{weights}"
    try:
        network = timm.create_model(tagged, pretrained=True)
    except RuntimeError as error:
        raise ValueError(f"timm has no weights {weights!r} for {name}: {error}") from error
    except Exception as error:  # of whatever library timm downloads with
        raise OSError(
            f"The weights of timm/{tagged} could not be downloaded ({error}): download them on another machine and "
            "pass the path of the .safetensors file as weights"
        ) from error
    return network.state_dict(), network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
