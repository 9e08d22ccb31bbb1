import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from ferkit import ImageAugmenter

STILL = {
    "horizontal_flip": 0,
    "rotation": 0,
    "translation": 0,
    "scale": 0,
    "shear": 0,
    "brightness": 0,
    "contrast": 0,
    "erasing": 0,
}
CHANGES = {
    "horizontal_flip": 1,
    "rotation": 20,
    "translation": 0.2,
    "scale": 0.3,
    "shear": 20,
    "brightness": 1,
    "contrast": 0.5,
    "erasing": 1,
}


def as_tensor(faces, n=16):
    return torch.from_numpy(faces.images[:n]).unsqueeze(1).float()


def draw(augmenter, images, seed=0):
    return augmenter(images, generator=torch.Generator(images.device).manual_seed(seed))


def test_originals_come_first_then_copies_with_their_labels(faces):
    names = faces.target_names[faces.target]
    X, y = ImageAugmenter(n_copies=2, random_state=0).fit_resample(faces.data, names)
    assert X.shape == (3 * len(faces.data), 2304)
    assert X.dtype == np.uint8
    np.testing.assert_array_equal(X[: len(faces.data)], faces.data)
    np.testing.assert_array_equal(y, np.tile(names, 3))
    for copy in X[210:420], X[420:]:
        assert (copy != faces.data).mean() > 0.5
    assert (X[210:420] != X[420:]).any(axis=1).all()


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_visible_and_small(change, faces):
    images = as_tensor(faces)
    drawn = draw(ImageAugmenter(**{**STILL, change: CHANGES[change]}), images)
    assert drawn.shape == images.shape
    changed = (drawn != images).flatten(1).any(1)
    assert changed.float().mean() > 0.9
    similar = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(drawn.numpy(), images.numpy(), strict=True)]
    assert np.mean(similar) > 0.1


def test_without_changes_images_stay_the_same(faces):
    images = as_tensor(faces)
    assert torch.equal(draw(ImageAugmenter(**STILL), images), images)


def test_flips_mirror_exactly(faces):
    images = as_tensor(faces)
    assert torch.equal(draw(ImageAugmenter(**{**STILL, "horizontal_flip": 1}), images), images.flip(3))


def test_flips_combine_with_resampling(faces):
    images = as_tensor(faces)
    drawn = draw(ImageAugmenter(**{**STILL, "horizontal_flip": 1, "translation": 1e-7}), images)
    torch.testing.assert_close(drawn, images.flip(3), atol=1e-2, rtol=0)


def test_rotation_turns_the_square_and_the_oblong_by_the_same_angle():
    # a bar that points right, rotated by up to 90 degrees, keeps its length: no shear from the aspect ratio
    for height, width in ((65, 65), (65, 129)):
        image = torch.zeros(64, 1, height, width)
        image[:, :, 31:34, width // 2 : width // 2 + 20] = 1
        drawn = draw(ImageAugmenter(**{**STILL, "rotation": 90}), image)
        drawn[..., : width // 2 - 30] = drawn[..., width // 2 + 30 :] = 0  # removes the reflection
        y, x = torch.meshgrid(torch.arange(height) - 32.0, torch.arange(width) - width // 2.0, indexing="ij")
        mass = drawn.sum((1, 2, 3))
        reach = torch.hypot((drawn[:, 0] * x).sum((1, 2)) / mass, (drawn[:, 0] * y).sum((1, 2)) / mass)
        torch.testing.assert_close(reach, torch.full_like(reach, 9.5), atol=0.3, rtol=0)


@pytest.mark.parametrize("change", ["translation", "scale"])
def test_changes_stay_within_their_amounts(change):
    image = torch.zeros(200, 1, 41, 41)
    image[:, :, 20, 30] = 1
    drawn = draw(ImageAugmenter(**{**STILL, change: 0.2}), image)[:, 0]
    columns = (drawn.sum(1) * torch.arange(41)).sum(1) / drawn.sum((1, 2))
    low, high = (30 - 8.7, 30 + 8.7) if change == "translation" else (20 + 10 * 0.75, 20 + 10 * 1.25)
    inside = columns[torch.isfinite(columns)]
    assert inside.min() > low
    assert inside.max() < high
    assert inside.std() > 1


def test_pixels_on_any_scale_are_changed_in_the_same_way(faces):
    images = as_tensor(faces)
    augmenter = ImageAugmenter(**{**CHANGES, "horizontal_flip": 0.5})
    standardised = (images - 128) / 50
    torch.testing.assert_close(
        (draw(augmenter, images) - 128) / 50, draw(augmenter, standardised), atol=1e-3, rtol=1e-3
    )


def test_input_images_are_not_modified(faces):
    images = as_tensor(faces)
    before = images.clone()
    draw(ImageAugmenter(**CHANGES), images)
    assert torch.equal(images, before)
    X = faces.data.copy()
    ImageAugmenter(**CHANGES).fit_resample(X, faces.target)
    np.testing.assert_array_equal(X, faces.data)


def test_random_state_determines_the_changes(faces):
    same = [ImageAugmenter(random_state=seed).fit_resample(faces.data, faces.target)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(same[0], same[1])
    assert (same[0] != same[2]).any()
    assert torch.equal(draw(ImageAugmenter(), as_tensor(faces)), draw(ImageAugmenter(), as_tensor(faces)))
    assert not torch.equal(draw(ImageAugmenter(), as_tensor(faces)), draw(ImageAugmenter(), as_tensor(faces), seed=1))


def test_channels_of_color_images_are_changed_together():
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), dtype=np.uint8).repeat(3, axis=3)
    X, _ = ImageAugmenter(random_state=0, erasing=1, brightness=1).fit_resample(images, np.arange(20) % 2)
    gray = X.reshape(-1, 16, 16, 3).astype(int)
    assert abs(gray - gray[..., :1]).max() <= 1


def test_frames_stay_frames(faces):
    frame = pd.DataFrame(faces.data, columns=[f"p{n}" for n in range(2304)])
    X, y = ImageAugmenter(random_state=0).fit_resample(frame, pd.Series(faces.target, name="emotion"))
    assert list(X.columns) == list(frame.columns)
    assert y.name == "emotion"
    assert len(X) == len(y) == 420


@pytest.mark.parametrize(
    "params", [{"horizontal_flip": 1.5}, {"rotation": -1}, {"scale": 1}, {"n_copies": -1}, {"erasing": "yes"}], ids=str
)
def test_invalid_amounts_are_refused(params, faces):
    with pytest.raises(ValueError, match=next(iter(params))):
        clone(ImageAugmenter(**params)).fit_resample(faces.data, faces.target)
