"""Names of the emotions and splits, and the ways in which data sets write them."""

from functools import cache

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of FER2013's codes
FERPLUS_EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")

# FER2013's code for each name, for each digit, and for each cell that a table may contain.
NAME_CODES = {name: code for code, name in enumerate(EMOTIONS)}
NAME_CODES |= {"anger": 0, "disgusted": 1, "fearful": 2, "happiness": 3, "sadness": 4, "surprised": 5, "neutrality": 6}
DIGIT_CODES = {str(code): code for code in range(len(EMOTIONS))}
CELL_CODES = NAME_CODES | DIGIT_CODES | {f"{code}.0": code for code in range(len(EMOTIONS))}  # pandas writes 3 as 3.0

USAGES = ("Training", "PublicTest", "PrivateTest", "Validation", "Test")
FER2013_USAGES = USAGES[:3]
USAGE_NAMES = {usage.lower(): usage for usage in USAGES}
USAGE_NAMES |= {"train": "Training", "val": "Validation", "valid": "Validation"}

# The names of each set, in the order of its codes.
VOCABULARIES = {
    "fer2013": EMOTIONS,
    "ferplus": FERPLUS_EMOTIONS,
    "rafdb": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "affectnet": ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
    "ckplus": ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"),
    "jaffe": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    "expw": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
}
FIRST_CODES = {"rafdb": 1}  # the others start at 0


@cache
def number_names(vocabulary):
    """Return a dict from each code of a data set, as text, to the index of its name."""
    first = FIRST_CODES.get(vocabulary, 0)
    return {str(code + first): code for code in range(len(VOCABULARIES[vocabulary]))}


def find_emotion(name):
    """Return the emotion that a name means, by one name for all synonyms. A name that is no emotion is returned."""
    name = str(name).strip().lower()
    return EMOTIONS[NAME_CODES[name]] if name in NAME_CODES else name
