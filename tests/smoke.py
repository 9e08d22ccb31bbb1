"""Try an installed ferkit on drawn faces; `make dist` runs it outside the checkout."""

import sys
from pathlib import Path

import ferkit
from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import make_faces


def main():
    package = Path(ferkit.__file__).parent
    assert package.is_relative_to(sys.prefix), f"Expected an installed ferkit, got {package}"
    assert (package / "py.typed").is_file()

    faces = make_faces(1000, as_frame=True, random_state=0)
    train, test = (faces.frame[faces.frame["Usage"] == usage] for usage in ("Training", "PublicTest"))
    augment = ImageAugmenter(rotation=10)
    classifier = FERClassifier("cnn_small", augment=augment, max_epochs=10, batch_size=32, random_state=0)
    model = Pipeline([("parse", PixelParser()), ("classify", classifier)]).fit(train["pixels"], train["emotion"])
    accuracy = model.score(test["pixels"], test["emotion"])
    assert accuracy > 0.3, f"Expected more than twice the accuracy of guessing, got {accuracy:.2f}"

    page = package / "serving" / "page"
    assert {"app.js", "worker.js", "index.html", "licenses.txt"} <= {path.name for path in page.iterdir()}
    assert ferkit.load_model().predict(faces.data[:5]).shape == (5,)  # a file of the package

    # the templates of the page are files of the package
    ferkit.evaluate(model, test["pixels"], test["emotion"]).to_html("report.html")
    assert "<html" in Path("report.html").read_text(encoding="utf-8")
    print(f"ferkit {ferkit.__version__}: accuracy {accuracy:.2f} on {len(test)} drawn faces")


if __name__ == "__main__":
    main()
