"""Try an installed ferkit on drawn faces; `make dist` runs it outside the checkout."""

import sys
from pathlib import Path

import ferkit
from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import make_faces

assert Path(ferkit.__file__).is_relative_to(sys.prefix), f"Expected an installed ferkit, got {ferkit.__file__}"
assert Path(ferkit.__file__).with_name("py.typed").is_file()

faces = make_faces(400, as_frame=True, random_state=0)
train, test = (faces.frame[faces.frame["Usage"] == usage] for usage in ("Training", "PublicTest"))
classifier = FERClassifier("cnn_small", augment=ImageAugmenter(rotation=10), max_epochs=8, random_state=0)
model = Pipeline([("parse", PixelParser()), ("classify", classifier)]).fit(train["pixels"], train["emotion"])
accuracy = model.score(test["pixels"], test["emotion"])
assert accuracy > 0.5, accuracy

report = ferkit.evaluate(model, test["pixels"], test["emotion"])
report.to_html("report.html")  # its template is a file of the package
assert "<html" in Path("report.html").read_text(encoding="utf-8")
print(f"ferkit {ferkit.__version__}: accuracy {accuracy:.2f} on {len(test)} drawn faces")
