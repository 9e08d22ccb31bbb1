"""Compare training steps in bfloat16 on the CPU with and without depthwise convolutions in float32, as in `fit`.

A step is the forward and the backward pass of 64 images of 96×96 pixels. Both sides take turns with the same network.

    python benchmarks/depthwise.py [--quick]
"""

from contextlib import nullcontext
from statistics import median

import torch
import torch.nn.functional as F
from _common import alternate, parse_arguments
from torchvision.models import get_model

from ferkit.training._devices import depthwise_in_float32

NETWORKS = ("mobilenet_v2", "mobilenet_v3_small", "mnasnet1_0", "efficientnet_b0", "shufflenet_v2_x1_0", "resnet18")


def main():
    arguments = parse_arguments(__doc__)
    n_images, rounds = (8, 2) if arguments.quick else (64, 8)
    torch.manual_seed(0)
    images = torch.randn(n_images, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    target = torch.arange(n_images) % 7
    print("| network | all in bfloat16, ms | depthwise in float32, ms | speed, ratio | range |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name in NETWORKS:
        network = get_model(name, num_classes=7).to(memory_format=torch.channels_last)

        def step(context, network=network):
            with context:
                with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                    loss = F.cross_entropy(network(images), target)
                loss.backward()

        sides = {
            "bfloat16": lambda: step(nullcontext()),
            "float32": lambda network=network: step(depthwise_in_float32(network)),
        }
        alternate(sides, 1)
        seconds, _ = alternate(sides, rounds)
        times = [1000 * median(seconds[side]) for side in sides]
        ratios = sorted(old / new for old, new in zip(*seconds.values(), strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"| `{name}` | {times[0]:.0f} | {times[1]:.0f} | {median(ratios):.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
