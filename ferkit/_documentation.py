"""Links from estimators to their pages in the documentation."""

__all__ = ["ADDRESS", "DocumentedMixin"]

ADDRESS = "https://ferkit.github.io/ferkit"


class DocumentedMixin:
    """Let the question mark in an estimator's HTML representation link to its page, as scikit-learn's does."""

    _doc_link_module = "ferkit"
    _doc_link_template = f"{ADDRESS}/generated/ferkit.{{estimator_name}}.html"
