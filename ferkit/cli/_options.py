"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

TestData = Annotated[Path, Argument(help="CSV file, archive or folder of images.")]
MODELS = (
    "fer2013-small, the directory of a run, or a .ferkit, .onnx or .joblib file. Only use .joblib files that you "
    "trust, because they can run code."
)
Model = Annotated[str, Argument(help=f"The model: {MODELS}")]
FaceModel = Annotated[str, Option("--model", help=f"The model: {MODELS}")]
Out = Annotated[Path, Option("--out", file_okay=False, help="Directory for models, reports, figures and settings.")]
Force = Annotated[bool, Option("--force", help="Overwrite an existing run, or discard an unfinished training.")]
Drop = Annotated[bool, Option("--drop-errors", help="Skip invalid rows and unreadable images.")]
DropImages = Annotated[bool, Option("--drop-errors", help="Skip unreadable images.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
Threshold = Annotated[float, Option(min=0, max=1, help="Mark faces as unsure if their highest probability is lower.")]
