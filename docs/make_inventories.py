"""Write docs/inventories, from which the pages link to the documentation of other projects without a network.

They only contain the names below, whose addresses follow the rules of each project. To link to another name, add it and
run ``python docs/make_inventories.py``, which checks that it exists.
"""

import zlib
from pathlib import Path
from pydoc import locate

SKLEARN = """
    base.BaseEstimator base.clone calibration.CalibratedClassifierCV cluster.KMeans decomposition.PCA
    discriminant_analysis.LinearDiscriminantAnalysis ensemble.StackingClassifier ensemble.VotingClassifier
    frozen.FrozenEstimator metrics.classification_report metrics.confusion_matrix metrics.f1_score
    model_selection.GridSearchCV model_selection.GroupKFold model_selection.HalvingGridSearchCV
    model_selection.PredefinedSplit model_selection.RandomizedSearchCV model_selection.StratifiedKFold
    model_selection.cross_val_predict model_selection.cross_val_score model_selection.cross_validate
    model_selection.train_test_split neighbors.KNeighborsClassifier pipeline.Pipeline pipeline.make_pipeline
    preprocessing.FunctionTransformer svm.SVC utils.Bunch
"""
TORCH = "Generator Tensor nn.Module nn.CrossEntropyLoss optim.Optimizer optim.lr_scheduler.MultiStepLR"
SKORCH = """
    callbacks.Callback callbacks.EpochScoring callbacks.EarlyStopping callbacks.GradientNormClipping
    callbacks.LRScheduler callbacks.TensorBoard callbacks.WandbLogger
"""
IMBLEARN = "pipeline.Pipeline over_sampling.RandomOverSampler over_sampling.SMOTE over_sampling.ADASYN"
FUNCTIONS = {"bool", "callable", "dict", "float", "int", "list", "str", "tuple"}

# project: address and, for each name, its role and page. {} stands for the name itself, here and after #.
PROJECTS = {
    "python": (
        "https://docs.python.org/3/",
        {
            **{
                name: ("py:function" if name == "callable" else "py:class", "library/functions.html")
                for name in FUNCTIONS
            },
            "None": ("py:data", "library/constants.html"),
            "bltin-boolean-values": ("std:label", "library/stdtypes.html#boolean-type-bool"),
            **{name: ("std:term", f"glossary.html#term-{name}") for name in ("generator", "iterable", "sequence")},
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "numpy.ndarray": ("py:class", "reference/generated/{}.html"),
            "numpy.random.RandomState": ("py:class", "reference/random/legacy.html"),
            "array_like": ("std:term", "glossary.html#term-array_like"),
        },
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/",
        {f"pandas.{name}": ("py:class", "reference/api/{}.html") for name in ("DataFrame", "Series")},
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        {
            "matplotlib.axes.Axes": ("py:class", "api/_as_gen/{}.html"),
            "matplotlib.figure.Figure": ("py:class", "api/_as_gen/{}.html"),
        },
    ),
    "sklearn": (
        "https://scikit-learn.org/stable/",
        {f"sklearn.{name}": ("py:obj", "modules/generated/{}.html") for name in SKLEARN.split()},
    ),
    "imblearn": (
        "https://imbalanced-learn.org/stable/",
        {f"imblearn.{name}": ("py:class", "references/generated/{}.html") for name in IMBLEARN.split()},
    ),
    "skorch": (
        "https://skorch.readthedocs.io/en/stable/",
        {f"skorch.{name}": ("py:class", "callbacks.html") for name in SKORCH.split()}
        | {
            "skorch.classifier.NeuralNetClassifier": ("py:class", "classifier.html"),
            "skorch.regressor.NeuralNetRegressor": ("py:class", "regressor.html"),
        },
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        {f"torch.{name}": ("py:class", "generated/{}.html") for name in TORCH.split()}
        | {"torch.Tensor": ("py:class", "tensors.html")},
    ),
}
FOLDER = Path(__file__).with_name("inventories")


def main():
    import sklearn.experimental.enable_halving_search_cv  # noqa: F401

    FOLDER.mkdir(exist_ok=True)
    for project, (_, names) in PROJECTS.items():
        lines = []
        for name, (role, page) in sorted(names.items()):
            if role.startswith("py:"):
                if locate(name) is None and name != "None":
                    raise ValueError(f"Expected the name of something in {project}, got {name!r}.")
                found = locate(name)
                role = "py:class" if isinstance(found, type) else role.replace("obj", "function")
                page = page.replace("{}", name) + "#$"
            lines.append(f"{name} {role} 1 {page} -\n")
        header = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        header += "# The remainder of this file is compressed using zlib.\n"
        (FOLDER / f"{project}.inv").write_bytes(header.encode() + zlib.compress("".join(lines).encode(), 9))


if __name__ == "__main__":
    main()
