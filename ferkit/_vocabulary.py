"""Names of the emotions and splits, and the ways in which data sets write them."""

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
