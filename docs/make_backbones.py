"""Write docs/backbones.md: what every network costs, computed from the networks themselves."""

from pathlib import Path

from ferkit.backbones import list_backbones, resolve_backbone, summarize
from ferkit.backbones._inspect import build_meta
from ferkit.backbones._registry import BACKBONES

HEADER = """\
# Backbones

Each is one string: `FERClassifier("resnet18")`, `ferkit train --backbone resnet18`. So is every network of
timm as `"timm/<name>"`, with `pip install "ferkit[timm]"`. An `nn.Module` class or
a function that builds one works in the same place, and `register_backbone` gives it a name.

Networks of torchvision and timm take the names of their published weights: `FERClassifier("resnet18",
weights="imagenet")`. Many are too deep for faces of 48×48; the error then says which `input_size` they need.

Costs are for one gray image of the size named, and seven classes: parameters, and MFLOP of a
prediction (two per multiply-add). `ferkit backbones NAME` shows a network layer by layer, `--figure` draws it.
The rate is what `lr="auto"` means, for batches of 256 from scratch.

`python docs/make_backbones.py` makes this page.
"""


def main():
    lines = [HEADER]
    for title, names in (
        ("ferkit's own", [*BACKBONES]),
        ("torchvision's", [name for name in list_backbones() if name not in BACKBONES]),
    ):
        lines += [
            f"## {title}\n",
            "| name | input | parameters | MFLOP | optimizer, rate | source |",
            "| --- | --- | ---: | ---: | --- | --- |",
            *map(describe, names),
            "",
        ]
    Path(__file__).with_name("backbones.md").write_text("\n".join(lines))


def describe(name):
    """The row of a network."""
    backbone = resolve_backbone(name)
    size = backbone.input_size
    summary = summarize(build_meta(backbone.build, num_classes=7, in_channels=1), (1, size, size))
    return (
        f"| `{name}` | {size}×{size} | {summary.parameters / 1e6:.2f} M | {summary.flops / 1e6:,.0f} "
        f"| {backbone.optimizer}, {backbone.lr:g} | {backbone.reference} |"
    )


if __name__ == "__main__":
    main()
