"""Find labels that are probably wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, column_or_1d

from .._validation import check_label_names, check_labels, check_proba

__all__ = ["LabelErrors", "find_label_errors"]

EXAMPLES = 10
ROUNDING = 1e-6  # of an average, which could exclude equal probabilities


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Result of :func:`find_label_errors`. ``str()`` returns a table.

    All arrays have one value per suspect, and begin with the label that is most probably wrong.

    Attributes
    ----------
    n : int
        Number of faces that were checked.
    row : ndarray of shape (n_suspects,) and dtype int64
        The rows with suspect labels.
    name : ndarray of shape (n_suspects,)
        The names of these rows.
    label : ndarray of shape (n_suspects,)
        Their labels.
    suggested : ndarray of shape (n_suspects,)
        The suggested labels.
    label_probability, suggested_probability : ndarray of shape (n_suspects,)
        The probabilities of both.

    See Also
    --------
    ferkit.display.LabelErrorsDisplay : Shows the faces.

    Examples
    --------
    >>> from ferkit.datasets import find_label_errors
    >>> y = ["happy", "happy", "sad", "sad", "happy"]
    >>> find_label_errors(y, [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]]).row
    array([4])
    """

    n: int
    row: np.ndarray
    name: np.ndarray
    label: np.ndarray
    suggested: np.ndarray
    label_probability: np.ndarray
    suggested_probability: np.ndarray

    def __repr__(self) -> str:
        return f"LabelErrors(n={self.n}, suspects={len(self.row)})"

    def to_frame(self) -> pd.DataFrame:
        """Return the suspects as a data frame.

        Returns
        -------
        DataFrame
            With the columns row, name, label, suggested, label_probability and suggested_probability.
        """
        return pd.DataFrame({name: values for name, values in vars(self).items() if name != "n"})

    def to_dict(self) -> dict[str, Any]:
        """Return counts and the first few suspects, ready for JSON.

        Returns
        -------
        dict
        """
        frame = self.to_frame()
        pairs = frame.value_counts(["label", "suggested"]).rename("faces").reset_index()
        return {
            "n": self.n,
            "suspects": len(frame),
            "pairs": pairs.to_dict("records"),
            "examples": frame[:EXAMPLES].to_dict("records"),
        }

    def __str__(self) -> str:
        found = self.to_dict()
        share = found["suspects"] / max(self.n, 1)
        lines = [f"{found['suspects']:,} of {self.n:,} labels are suspect ({share:.1%})"]
        if not found["suspects"]:
            return lines[0]
        pairs = pd.DataFrame(found["pairs"][:EXAMPLES])
        lines += ["", pairs.to_string(index=False, formatters={"faces": "{:,}".format})]
        named = "row, from 0" if self.name.dtype.kind in "iu" else "image"
        first = pd.DataFrame(found["examples"]).drop(columns="row").rename(columns={"name": named})
        first = first.rename(columns={"label_probability": "probability", "suggested_probability": "probability "})
        first = first[[named, "label", "probability", "suggested", "probability "]]
        return "\n".join([*lines, "", first.to_string(index=False, float_format="{:.3f}".format)])


def find_label_errors(
    y: ArrayLike, y_proba: ArrayLike, *, labels: ArrayLike | None = None, names: ArrayLike | None = None
) -> LabelErrors:
    """Find labels that are probably wrong, by confident learning.

    Each face needs probabilities of a model that was not trained on it. A label is a candidate for a face if it is at
    least as probable as it is on average for the faces that have it. A face is a suspect if its most probable candidate
    is not its own label; this candidate is the suggested label [1]_. Suspects are ranked by the probability of their
    own label.

    Show suspects to people before you change a label. A label that looks wrong to a network can be rare but right.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels to check.
    y_proba : array-like of shape (n, n_labels)
        Probability of each label by a model that was trained on other faces. :func:`find_duplicates` and
        :class:`~sklearn.model_selection.StratifiedGroupKFold` keep copies of a face in one fold, as in the example.
    labels : array-like of shape (n_labels,), default=None
        Labels of the columns of `y_proba`. By default, all labels in `y`, sorted, as
        :func:`~sklearn.model_selection.cross_val_predict` returns them.
    names : array-like of shape (n,), default=None
        Names of the rows, such as the ``origin`` that :func:`load_fer2013` returns. By default, rows are counted from
        0.

    Returns
    -------
    errors : LabelErrors
        The suspects with suggested labels, most probably wrong first, as arrays, as a data frame and as a table.

    Raises
    ------
    ValueError
        If `y_proba` does not contain one probability per face and label, or if `labels` lacks a label of `y`.

    References
    ----------
    .. [1] C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
       Journal of Artificial Intelligence Research 70, 2021, https://arxiv.org/abs/1911.00068

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import find_duplicates, find_label_errors, make_faces
    >>> faces = make_faces(200, size=24, proportions=[0, 0, 0, 1, 0, 1, 0], random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> y[:10] = np.where(y[:10] == "happy", "surprise", "happy")
    >>> folds = StratifiedGroupKFold(2).split(faces.data, y, find_duplicates(faces.data).group)
    >>> model = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=16, random_state=0)
    >>> y_proba = cross_val_predict(model, faces.data, y, cv=folds, method="predict_proba")
    >>> found = find_label_errors(y, y_proba).row
    >>> bool(np.isin(found, range(10)).sum() > 5)  # of the ten wrong labels
    True
    """
    y = check_labels(y, () if labels is None else labels)
    labels = np.unique(y) if labels is None else check_label_names(labels)
    y_proba = check_proba(y_proba, labels)
    names = np.arange(len(y)) if names is None else column_or_1d(names)
    check_consistent_length(y, y_proba, names)
    codes = pd.Index(labels).get_indexer(y)
    if (codes < 0).any():
        missing = np.unique(y[codes < 0]).tolist()
        raise ValueError(f"Expected labels to contain every label of y, got {labels.tolist()} without {missing}.")
    own = y_proba[np.arange(len(y)), codes]
    average = [own[codes == code].mean() if code in codes else np.inf for code in range(len(labels))]
    candidates = np.where(y_proba >= np.array(average) - ROUNDING, y_proba, -1)
    best = candidates.argmax(axis=1)
    suspects = np.flatnonzero((candidates.max(axis=1) >= 0) & (best != codes))
    row = suspects[own[suspects].argsort(kind="stable")]
    suggested = best[row]
    return LabelErrors(len(y), row, names[row], y[row], labels[suggested], own[row], y_proba[row, suggested])
