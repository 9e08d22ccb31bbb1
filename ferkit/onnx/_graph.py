"""The graph of an exported model, built and compared with PyTorch."""

import json
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .._images import BYTES, UNIT
from ..training._views import make_views

__all__ = ["Graph", "compare", "halve", "to_proto"]

_OPSET = 18  # the first in which images are resized with antialiasing
_HALF = 0.501  # so that ties are rounded up, whatever the last bits of a sum
_TOLERANCE = 1e-4  # of probabilities, in float32


class Graph(nn.Module):
    """From uint8 images (n, height, width, channels) of any size to probabilities (n, n_classes)."""

    def __init__(self, model):
        super().__init__()
        net = model.net_
        if model.pixel_range_ not in (BYTES, UNIT):
            low, high = model.pixel_range_
            raise ValueError(
                f"Expected a model for pixels from 0 to 255 or from 0 to 1, got one for {low:g} to {high:g}: train it "
                "on the images before they are normalized."
            )
        if not (model.tta is None or model.tta in ("auto", "flip", "ten_crop")):
            raise ValueError(f'Expected tta="auto", "flip", "ten_crop" or None, got {model.tta!r}: set one of them.')
        self.network = deepcopy(net.module_).cpu().float().eval()
        self.size, self.scale = model.image_shape_[:2], model.pixel_range_[1] / 255
        self.views = {"tta": model.tta, "augment": model.augment_, "pixel_range": model.pixel_range_}

    def forward(self, images):
        pixels = images.permute(0, 3, 1, 2).float()
        for size in ((images.shape[1], self.size[1]), self.size):  # as Pillow does, which rounds after each side
            pixels = (F.interpolate(pixels, size, mode="bilinear", antialias=True) + _HALF).floor()
        views = torch.stack([*make_views(pixels * self.scale, **self.views)])
        return self.network(views.flatten(0, 1)).softmax(1).unflatten(0, (len(views), -1)).mean(0)


def to_proto(graph, model, card):
    """Return the graph of a classifier as an ONNX model."""
    height, width, channels = model.image_shape_
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate(("n", "height", "width"))}
    example = torch.zeros(2, height + 1, width + 2, channels, dtype=torch.uint8)
    program = torch.onnx.export(
        graph.eval(),
        (example,),
        dynamo=True,
        dynamic_shapes=(sizes,),
        input_names=["images"],
        output_names=["probabilities"],
        opset_version=_OPSET,
        verbose=False,
    )
    assert program is not None  # as it may be with dynamo=False
    proto = program.model_proto
    metadata = {"classes": model.classes_.tolist(), "image_shape": model.image_shape_}
    for key, text in {**{name: json.dumps(value) for name, value in metadata.items()}, "card": card}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    return proto


def halve(content):
    """Return a file with its weights in float16, which onnxruntime casts to float32 when it reads the file."""
    import onnx

    proto = onnx.load_from_string(content)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            name, half = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
            proto.graph.node.insert(0, onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    return proto.SerializeToString()


def compare(exported, graph, shape):
    """Raise if the probabilities of the file differ from PyTorch's, on images of two sizes."""
    rng = np.random.default_rng(0)
    for height, width in (shape[:2], (shape[0] + 7, shape[1] + 20)):
        images = rng.integers(0, 256, (3, height, width, shape[2]), dtype=np.uint8)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(images)).numpy()
        difference = abs(exported.run(images) - expected).max()
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"Expected the probabilities of PyTorch within {_TOLERANCE:g}, got a file that differs by "
                f"{difference:.2g}: a layer of the network may behave differently in ONNX."
            )
