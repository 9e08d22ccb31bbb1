"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

TestData = Annotated[Path, Argument(help="CSV file, archive or image folder.")]
MODELS = "fer2013-small, a run, a .ferkit or .onnx file, or a .joblib file, which can run code"
Model = Annotated[str, Argument(help=f"The model: {MODELS}.")]
Out = Annotated[Path, Option("--out", file_okay=False, help="Directory for models, reports, figures, settings.")]
Force = Annotated[bool, Option("--force", help="Overwrite an existing run, or discard an unfinished training.")]
Drop = Annotated[bool, Option("--drop-errors", help="Skip invalid rows and unreadable images.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
FaceModel = Annotated[str, Option("--model", help=f"The model: {MODELS}.")]
Threshold = Annotated[float, Option(min=0, max=1, help="Mark faces as unsure whose highest probability is lower.")]
