"""Measure which crop around YuNet's box frames faces as FER2013's are, by the accuracy of fer2013-small.

Each face is enlarged to a random size from 40 to 320 pixels and pasted into a scene of 640×480 pixels: noise, a
gradient or drawn shapes. FER2013's faces are cut tightly, so the picture is continued around them by blurred
reflections. YuNet searches the scene. The faces that it finds are cut out with several margins and alignments:

- box: a square around the center of the box
- landmarks: a square around the mean of the eyes and the corners of the mouth
- rotated: a square around the center of the box, after the eyes were turned to the same height

The margin is added on each side and is a share of the height of the box. The best combination is chosen on Training
faces. The last tables score it on PublicTest faces, by size and scene. The crops that were pasted, and the true places
where they were pasted, show what the detection and the crop cost.

    python benchmarks/crops.py --data fer2013.csv [--quick]

Without --data, the faces are drawn. Then the detection rate is of interest, not the accuracy.
"""

from itertools import pairwise

import cv2
import numpy as np
from _common import get_split, parse_arguments
from PIL import Image, ImageDraw

from ferkit import load_model
from ferkit.photos import crop_faces, detect_faces

WIDTH, HEIGHT = 640, 480
SCENES = ("noise", "gradient", "drawn")
MARGINS = (-0.1, -0.05, 0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
ALIGNMENTS = ("box", "landmarks", "rotated")
SEVERAL = (-0.15, -0.05, 0.05)
THRESHOLDS = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
SIZES = (40, 60, 90, 140, 210, 320)


def draw_scene(kind, rng):
    """Return a picture without faces, (HEIGHT, WIDTH, 3)."""
    if kind == "noise":
        scale = 2 ** rng.integers(0, 6)
        noise = rng.integers(0, 256, (HEIGHT // scale + 1, WIDTH // scale + 1, 3), dtype=np.uint8)
        return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.float32)
    scene = cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).round().astype(np.uint8)
    if kind == "gradient":
        return scene
    scene = Image.fromarray(scene)
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.integers(5, 25)):
        shape = rng.choice([draw.rectangle, draw.ellipse])
        left, top = rng.integers(-50, WIDTH), rng.integers(-50, HEIGHT)
        width, height = rng.integers(10, 250, 2)
        shape([left, top, left + width, top + height], fill=tuple(rng.integers(0, 256, 3)))
    return np.asarray(scene)


def paste(face, scene, side, rng):
    """Return the scene with the face, and the box of the face."""
    border = side // 2
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    around = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REFLECT)
    blurred = cv2.GaussianBlur(around, (0, 0), side / 12)
    blurred[border:-border, border:-border] = large
    # the reflections become the scene towards the border
    ramp = np.minimum(1, (np.minimum(np.arange(1, len(around) + 1), np.arange(len(around), 0, -1))) / (0.7 * border))
    opacity = np.minimum.outer(ramp, ramp)[:, :, None]
    left, top = rng.integers(0, WIDTH - side + 1), rng.integers(0, HEIGHT - side + 1)
    padded = cv2.copyMakeBorder(scene, border, border, border, border, cv2.BORDER_REPLICATE)
    part = padded[top : top + len(around), left : left + len(around)]
    part[:] = (opacity * blurred[:, :, None] + (1 - opacity) * part).round()
    return padded[border:-border, border:-border], np.array([left, top, side, side], np.float32)


def overlap(box, boxes):
    """Return the intersection over union of a box with each of several."""
    corner = np.maximum(box[:2], boxes[:, :2])
    sides = (np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:]) - corner).clip(0)
    area = sides.prod(axis=1)
    return area / (box[2:].prod() + boxes[:, 2:].prod(axis=1) - area)


def square(center, side):
    return np.array([[*(center - side / 2), side, side]], np.float32)


def rotate(scene, landmarks):
    """Turn a scene around the center between the eyes until they have the same height."""
    right, left = landmarks[:2].astype(float)
    angle = np.degrees(np.arctan2(*(left - right)[::-1]))
    turn = cv2.getRotationMatrix2D(tuple((left + right) / 2), angle, 1)
    return cv2.warpAffine(scene, turn, scene.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), turn


def paste_all(faces, rng):
    """Yield the scene, the true box, the size and the kind of the scene for each face."""
    for row, face in enumerate(faces):
        kind, side = SCENES[row % len(SCENES)], int(np.exp(rng.uniform(np.log(40), np.log(320))))
        yield *paste(face, draw_scene(kind, rng), side, rng), side, kind


def find(faces, seed=0):
    """Return the scenes and, per face, the true box, the size, the kind, the detected box and landmarks or None."""
    found, false = [], 0
    for scene, box, side, kind in paste_all(faces, np.random.default_rng(seed)):
        detected = detect_faces(scene)
        overlaps = overlap(box, detected.boxes)
        is_hit = len(overlaps) > 0 and overlaps.max() > 0.3
        false += len(overlaps) - is_hit
        # keep only the part around the face, in gray, to save memory
        left, top = (box[:2] - side).clip(0).astype(int)
        scene = cv2.cvtColor(scene[top : top + 3 * side, left : left + 3 * side], cv2.COLOR_RGB2GRAY)
        corner, face = np.array([left, top]), (None, None)
        box[:2] -= corner
        if is_hit:
            best = overlaps.argmax()
            detected.boxes[best, :2] -= corner
            face = detected.boxes[best], detected.landmarks[best] - corner
        found.append((scene, box, side, kind, *face))
    return found, false


def frame(found):
    """Return where the median face of FER2013 is, relative to the box: its center's shift and its side per height."""
    boxes, given = (np.array([each[place] for each in found if each[4] is not None]) for place in (4, 1))
    shift = (given[:, :2] + given[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2) / boxes[:, 3:]
    return np.median(shift, axis=0), np.quantile(given[:, 3] / boxes[:, 3], [0.25, 0.5, 0.75])


def cut(found, alignment, margin):
    """Return the crops of the faces that were found."""
    crops = []
    for scene, _, _, _, box, landmarks in found:
        if box is None:
            continue
        center, side = box[:2] + box[2:] / 2, box[3] * (1 + 2 * margin)
        if alignment == "landmarks":
            center = landmarks[[0, 1, 3, 4]].mean(axis=0)
        if alignment == "rotated":
            scene, turn = rotate(scene, landmarks)
            center = turn @ [*center, 1]
        crops.append(crop_faces(scene, square(center, side), margin=0)[0])
    return np.array(crops)


def choose(model, n_faces, data):
    """Score all combinations on Training faces and return the best one."""
    X, y = get_split("Training", n_faces, data)
    found, false = find(X)
    hit = np.array([each[4] is not None for each in found])
    shift, sides = frame(found)
    print(f"{len(X):,} Training faces: {hit.mean():.1%} found, {false} false ones")
    print(f"accuracy of the faces as they are: {np.mean(model.predict(X[hit]) == y[hit]):.2%}")
    print(f"median shift of FER2013's frame from the center of the box: {shift.round(3)} of its height")
    print(f"side of FER2013's frame: {sides[1]:.3f} (quartiles {sides[0]:.3f} to {sides[2]:.3f}) of its height\n")
    scores = {}
    print("| margin | " + " | ".join(ALIGNMENTS) + " |")
    print("|" + "---:|" * (1 + len(ALIGNMENTS)))
    for margin in MARGINS:
        for alignment in ALIGNMENTS:
            crops = cut(found, alignment, margin)
            scores[alignment, margin] = np.mean(model.predict(crops) == y[hit])
        cells = (f"{scores[alignment, margin]:.2%}" for alignment in ALIGNMENTS)
        print(f"| {margin} | " + " | ".join(cells) + " |", flush=True)
    alignment, margin = max(scores, key=scores.get)
    print(f"\nbest on Training: {alignment}, margin {margin}")
    several = np.mean([model.predict_proba(cut(found, "box", each)) for each in SEVERAL], axis=0)
    right = model.classes_[several.argmax(axis=1)] == y[hit]
    print(f"mean of the probabilities for margins {SEVERAL}, box: {right.mean():.2%}\n")
    return alignment, margin


def score(model, n_faces, data, alignment, margin):
    """Score a combination on PublicTest faces, by size and scene."""
    X, y = get_split("PublicTest", n_faces, data)
    found, false = find(X, seed=1)
    hit = np.array([each[4] is not None for each in found])
    as_given = model.predict(X) == y
    placed = model.predict(np.array([crop_faces(each[0], each[1][None], margin=0)[0] for each in found])) == y
    detected = np.zeros(len(y), bool)
    detected[hit] = model.predict(cut(found, alignment, margin)) == y[hit]
    size, kind = (np.array([each[place] for each in found]) for place in (2, 3))
    groups = {"all": np.ones(len(y), bool), **{name: kind == name for name in SCENES}}
    groups |= {f"{a} to {b} pixels": (size >= a) & (size < b) for a, b in pairwise(SIZES)}
    print(f"{len(X):,} PublicTest faces, {false} false ones found\n")
    print("| faces | found | as they are | true box | detected box |\n|---|---:|---:|---:|---:|")
    for name, group in groups.items():
        cells = [hit[group].mean(), *(right[group & hit].mean() for right in (as_given, placed, detected))]
        print(f"| {name} | " + " | ".join(f"{cell:.1%}" for cell in cells) + " |")
    print("\nAccuracies are those of the faces that were found.\n")
    proba = {"as they are": (model.predict_proba(X), y)}
    proba["detected box"] = model.predict_proba(cut(found, alignment, margin)), y[hit]
    print("| threshold | " + " | ".join(f"{name}: above | right above | right below" for name in proba) + " |")
    print("|" + "---:|" * (1 + 3 * len(proba)))
    for threshold in THRESHOLDS:
        cells = []
        for each, true in proba.values():
            right, above = model.classes_[each.argmax(axis=1)] == true, each.max(axis=1) >= threshold
            cells += [above.mean(), right[above].mean(), right[~above].mean()]
        print(f"| {threshold} | " + " | ".join(f"{cell:.1%}" for cell in cells) + " |")


def main():
    arguments = parse_arguments(__doc__)
    n_faces = 90 if arguments.quick else 2000
    model = load_model("fer2013-small")
    score(model, n_faces, arguments.data, *choose(model, n_faces, arguments.data))


if __name__ == "__main__":
    main()
