"""Share models on the Hugging Face Hub: `push_to_hub` and `load_from_hub`.

Both use files that cannot contain code. Addresses, caches and tokens are those of huggingface_hub.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from sklearn.base import BaseEstimator

from .persistence import load
from .persistence._format import to_bytes, write_card
from .report import Report

__all__ = ["load_from_hub", "push_to_hub"]

MODEL, CARD = "model.ferkit", "README.md"
TAGS = ["facial-expression-recognition", "emotion-recognition"]
METRICS = {"accuracy": "accuracy", "macro_f1": "f1"}  # the Hub's names of a report's scores


def push_to_hub(
    model: BaseEstimator,
    repo_id: str,
    *,
    card: str = "",
    reports: Mapping[str, Report] | None = None,
    license: str | None = None,
    tags: Iterable[str] = (),
    private: bool | None = None,
    revision: str | None = None,
    half: bool = False,
    token: str | bool | None = None,
) -> str:
    """Upload a model and its card to the Hugging Face Hub, in one commit.

    The repository is created if it does not exist. Its files ``model.ferkit``, as :func:`ferkit.save` writes it, and
    ``README.md`` are replaced; the Hub keeps their earlier versions. It needs huggingface_hub: ``pip install
    "ferkit[hub]"``.

    Parameters
    ----------
    model : estimator
        The model. A model that only joblib can save is refused.
    repo_id : str
        The repository, such as ``"user/name"``.
    card : str, default=""
        Markdown text for the model card, see :func:`ferkit.save`. Say which data the model was trained on.
    reports : dict of str to :class:`~ferkit.report.Report`, default=None
        Scores for the metadata of the card, by the name of the data, such as ``{"FER2013 PublicTest": report}``.
    license : str, default=None
        `Identifier of the license <https://huggingface.co/docs/hub/repositories-licenses>`_, such as "bsd-3-clause".
    tags : list of str, default=()
        More tags for the metadata of the card.
    private : bool, default=None
        Whether a new repository is private. By default, the account or organization decides.
    revision : str, default=None
        The branch. By default, the main branch.
    half : bool, default=False
        Whether to store the weights in float16, see :func:`ferkit.save`.
    token : str or bool, default=None
        A token of the Hub. By default, the one of ``hf auth login`` or of the environment variable ``HF_TOKEN``.

    Returns
    -------
    str
        The commit, for ``load_from_hub(repo_id, revision=…)``.

    Raises
    ------
    TypeError
        If `model` is no estimator, or can only be saved as code.
    ImportError
        If huggingface_hub is not installed.
    huggingface_hub.errors.HfHubHTTPError
        If the Hub refuses, for example because the token does not allow to write.

    See Also
    --------
    ferkit.save : Write a model to a file.

    Examples
    --------
    >>> from ferkit.hub import load_from_hub, push_to_hub
    >>> commit = push_to_hub(model, "user/name", license="bsd-3-clause")  # doctest: +SKIP
    >>> model = load_from_hub("user/name", revision=commit)  # doctest: +SKIP
    """
    hub = _import_hub()
    if not isinstance(model, BaseEstimator):
        raise TypeError(
            f"Expected an estimator, got a {type(model).__name__}: load the file by ferkit.load and pass the model. "
            "joblib files are not uploaded, because they can run code."
        )
    content = to_bytes(model, card, half)  # before the Hub is asked for anything
    readme = _write_metadata(hub, repo_id, reports or {}, license, tags) + write_card(model, card)
    api = hub.HfApi(token=token, library_name="ferkit", library_version=version("ferkit"))
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    return api.create_commit(
        repo_id,
        [hub.CommitOperationAdd(MODEL, content), hub.CommitOperationAdd(CARD, readme.encode())],
        commit_message="Upload a model with ferkit",
        revision=revision,
    ).oid


def load_from_hub(
    repo_id: str, *, revision: str | None = None, trusted: Iterable[str] = (), token: str | bool | None = None
) -> BaseEstimator:
    """Download a model from the Hugging Face Hub, and load it.

    Only the file ``model.ferkit`` is downloaded, which cannot contain code, and only if it is not in the cache of
    huggingface_hub. It needs huggingface_hub: ``pip install "ferkit[hub]"``.

    Parameters
    ----------
    repo_id : str
        The repository, such as ``"user/name"``.
    revision : str, default=None
        A commit, tag or branch. By default, the newest commit of the main branch. With a commit, nobody can change the
        model.
    trusted : list of str, default=()
        Names of further classes and functions that may be imported and called, see :func:`ferkit.load`.
    token : str or bool, default=None
        A token of the Hub, for private repositories. By default, the one of ``hf auth login`` or of the environment
        variable ``HF_TOKEN``.

    Returns
    -------
    estimator
        The model.

    Raises
    ------
    FileNotFoundError
        If the repository contains no ``model.ferkit``.
    ValueError
        If the file is damaged or was written by a newer version of ferkit.
    TypeError
        If the model contains classes or functions that are not in `trusted`.
    ImportError
        If huggingface_hub is not installed.
    huggingface_hub.errors.HfHubHTTPError
        If the Hub refuses, for example because no such repository can be read with this token.

    See Also
    --------
    ferkit.load : Load a model from a file.
    ferkit.load_model : Load a model that ships with the package, without a download.

    Examples
    --------
    >>> from ferkit.hub import load_from_hub
    >>> load_from_hub("user/name", revision="v1.0").predict(["face.png"])  # doctest: +SKIP
    """
    hub = _import_hub()
    api = hub.HfApi(token=token, library_name="ferkit", library_version=version("ferkit"))
    try:
        path = api.hf_hub_download(repo_id, MODEL, revision=revision)
    except hub.errors.EntryNotFoundError as error:
        if isinstance(error, hub.errors.LocalEntryNotFoundError):  # the Hub did not answer
            raise
        raise FileNotFoundError(
            f"Expected the file {MODEL} in {repo_id}, got a repository without it: load_from_hub only loads models "
            "that push_to_hub has uploaded, because other formats can run code."
        ) from error
    return load(path, trusted=trusted)


def _import_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise ImportError('Expected huggingface_hub: pip install "ferkit[hub]"') from None
    return huggingface_hub


def _write_metadata(hub, repo_id, reports, license, tags):
    """Return the start of a card, which the Hub searches and shows."""
    results = [
        hub.EvalResult(
            task_type="image-classification",
            dataset_type="-".join(data.lower().split()),
            dataset_name=data,
            metric_type=metric,
            metric_value=getattr(report, name),
        )
        for data, report in reports.items()
        for name, metric in METRICS.items()
    ]
    metadata = hub.ModelCardData(
        license=license,
        library_name="ferkit",
        pipeline_tag="image-classification",
        tags=[*dict.fromkeys([*TAGS, *tags])],
        metrics=[*METRICS.values()] if reports else None,
        model_name=repo_id.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n"
