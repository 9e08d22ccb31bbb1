"""Draw docs/images/modules.png, the layers of the package, from the import contract in pyproject.toml."""

import tomllib
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
CONTAINS = {
    "cli": "the ferkit command: parse options, call the library, print",
    "serving": "web pages, with a server or in the browser",
    "runs": "a training run as a directory, and comparisons of several",
    "comparison": "tests over seeds and folds",
    "hub": "models on the Hugging Face Hub",
    "report": "evaluate, Report, compare_reports",
    "display": "figures",
    "photos": "faces in photos and videos",
    "models": "models that ship with the package",
    "persistence": "save, load",
    "onnx": "ONNX files",
    "recipes": "named settings",
    "classifier": "FERClassifier",
    "regressor": "FERRegressor",
    "_estimator": "what classifier and regressor share",
    "training": "how a network is trained",
    "transformers": "PixelParser, ImageResizer, ImageNormalizer, NetworkFeatures",
    "augmentation": "ImageAugmenter",
    "datasets": "loaders, drawn faces, duplicates, label errors",
    "backbones": "networks and their names",
    "_pixels": "pixel strings to uint8",
    "_images": "shapes and pixel ranges",
    "_documentation": "links to pages",
    "_files": "image files",
    "_metrics": "scores",
    "_groups": "scores of groups",
    "_held_out": "validation images",
    "_targets": "labels, soft targets",
    "_validation": "checks",
    "_vocabulary": "emotions, splits",
}


def main():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    layers = [[name for name in layer if name in CONTAINS] for layer in layers]
    layers = [layer for layer in layers if layer]
    figure = Figure(figsize=(9, 0.5 * len(layers) + 0.4))
    ax = figure.add_axes((0.06, 0, 0.94, 1))
    for row, layer in enumerate(layers):
        for column, name in enumerate(layer):
            left, width = column / len(layer), 1 / len(layer) - 0.01
            ax.barh(-row, width, 0.8, left, color="#E3EEF5" if name.startswith("_") else "#BBD9EA", align="center")
            gap = "  " if len(layer) < 4 else "\n"
            text = f"$\\bf{{{name.replace('_', chr(92) + '_')}}}${gap}{CONTAINS[name]}"
            ax.text(left + width / 2, -row, text, ha="center", va="center", fontsize=10 if len(layer) < 3 else 8.5)
    ax.annotate("", (-0.02, -len(layers) + 0.7), (-0.02, 0.3), arrowprops={"arrowstyle": "->"})
    ax.text(-0.035, -(len(layers) - 1) / 2, "may import", rotation=90, ha="center", va="center")
    ax.set(xlim=(-0.06, 1), ylim=(-len(layers) + 0.5, 0.5))
    ax.axis("off")
    figure.savefig(ROOT / "docs" / "images" / "modules.png", dpi=150)


if __name__ == "__main__":
    main()
