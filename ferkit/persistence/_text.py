"""Text in files from strangers, which must not control a terminal."""

import re

CARD = "README.md"  # the member of a file that holds the model card
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # codes that a terminal may obey


def plain(text):
    """Return text, or the message of an error, without the control codes that a file may have put into it."""
    return CONTROL.sub("?", str(text))
