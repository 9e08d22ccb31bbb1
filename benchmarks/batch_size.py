"""Compare batch sizes on training sets of 100 to 3,000 faces, over three seeds, with a linear SVM on pixels.

Each fit trains FERClassifier with defaults, except for ``batch_size``, on a stratified sample of the training faces and
is scored on the PublicTest faces with ``--data``, and on other drawn faces without it. The last row of the table is the
batch size that "auto" chooses.

    python benchmarks/batch_size.py [--device cuda] [--data fer2013.csv] [--quick]
"""

from statistics import mean, stdev

from _common import parse_arguments
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from ferkit import FERClassifier
from ferkit.datasets import load_fer2013, make_faces


def get_parts(data):
    if data is None:
        faces = make_faces(10_000, random_state=0)
        return (faces.data[5000:], faces.target[5000:]), (faces.data[:5000], faces.target[:5000])
    return tuple(load_fer2013(data, usage=usage, return_X_y=True) for usage in ("Training", "PublicTest"))


def main():
    arguments = parse_arguments(__doc__)
    sizes, seeds = ((100, 300), range(2)) if arguments.quick else ((100, 300, 1000, 3000), range(3))
    (X, y), test = get_parts(arguments.data)
    models = {"linear SVM on pixels": lambda seed: make_pipeline(StandardScaler(), LinearSVC(C=1e-4))}
    for batch_size in (8, 16, 32, 64, 128, 256, "auto"):
        models[f"batch_size={batch_size}"] = lambda seed, batch_size=batch_size: FERClassifier(
            batch_size=batch_size, device=arguments.device, random_state=seed
        )
    print("|                      |", *(f"{f'{n:,} faces':16} |" for n in sizes))
    print("| -------------------- |", *("---------------- |" for _ in sizes))
    for name, build in models.items():
        print(f"| {name:20} |", end="", flush=True)
        for n in sizes:
            scores = []
            for seed in seeds:
                X_train, _, y_train, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=seed)
                scores.append(build(seed).fit(X_train, y_train).score(*test))
            print(f" {mean(scores):6.2%} ± {stdev(scores):5.2%}  |", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
