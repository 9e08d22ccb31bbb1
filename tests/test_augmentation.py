import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torchvision.transforms import v2

from ferkit import ImageAugmenter, load, save
from ferkit.display import AugmentationDisplay

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


# options that are off by default


@pytest.mark.parametrize(
    ("change", "amount"), [("crop", 0.3), ("crop", 5), ("blur", 2.0), ("noise", 0.5)], ids=lambda part: str(part)
)
def test_options_change_each_image_by_its_own_draw(change, amount, faces):
    images = as_tensor(faces)[:1].repeat(16, 1, 1, 1)
    drawn = draw(ImageAugmenter(**{**STILL, change: amount}), images)
    assert drawn.shape == images.shape
    assert len({image.numpy().tobytes() for image in drawn}) > 12
    similar = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(drawn.numpy(), images.numpy(), strict=True)]
    assert np.mean(similar) > 0.5


def test_a_crop_in_pixels_shifts_by_whole_pixels(faces):
    image = as_tensor(faces)[:1]
    drawn = draw(ImageAugmenter(**{**STILL, "crop": 2}), image.repeat(200, 1, 1, 1))
    padded = np.pad(image[0, 0].numpy(), 2, mode="symmetric")
    shifted = {(top, left): padded[top : top + 48, left : left + 48] for top in range(5) for left in range(5)}
    found = [[place for place, view in shifted.items() if np.allclose(one[0], view, atol=0.01)] for one in drawn]
    assert all(found)
    assert {place for places in found for place in places} == set(shifted)


def test_a_crop_by_a_fraction_shows_part_of_the_image():
    ramp = torch.arange(48.0).repeat(48, 1)[None, None].repeat(300, 1, 1, 1)
    drawn = draw(ImageAugmenter(**{**STILL, "crop": 0.5}), ramp)[:, 0, 24]
    shown = (drawn[:, -2] - drawn[:, 1]) / 45
    assert 0.49 < shown.min() < 0.53
    assert 0.97 < shown.max() < 1.01
    assert drawn.min() >= 0
    assert drawn[:, 0].max() > 20
    assert drawn[:, -1].min() < 27


def test_blur_is_gaussian_of_up_to_its_width():
    dot = torch.zeros(200, 1, 33, 33)
    dot[:, :, 16, 16] = 1
    drawn = draw(ImageAugmenter(**{**STILL, "blur": 2.0}), dot)[:, 0]
    torch.testing.assert_close(drawn.sum((1, 2)), torch.ones(200))
    width = (drawn.sum(1) * (torch.arange(33) - 16) ** 2).sum(1).sqrt()
    assert 1.9 < width.max() < 2.01
    assert width.min() < 0.3


@pytest.mark.parametrize("blur", [49, 1e5])
def test_a_blur_wider_than_the_images_is_refused(blur, faces):
    augmenter = ImageAugmenter(blur=blur)
    with pytest.raises(ValueError, match="Expected a blur of at most the shorter side of the images, 48 pixels, got"):
        augmenter(as_tensor(faces, 4))
    with pytest.raises(ValueError, match="pass a smaller one"):
        augmenter.fit_resample(faces.data[:4], faces.target[:4])


def test_a_loaded_model_does_not_blur_without_limit(tiny, faces, tmp_path):
    model = tiny(augment=ImageAugmenter(blur=1), tta=2).fit(faces.data[:60], faces.target[:60])
    save(model.set_params(augment__blur=1e5), tmp_path / "model.ferkit")
    with pytest.raises(ValueError, match="got blur=100000: pass a smaller one"):
        load(tmp_path / "model.ferkit").predict(faces.data[:4])


def test_noise_is_of_up_to_its_deviation(faces):
    images = as_tensor(faces, 200)
    noise = (draw(ImageAugmenter(**{**STILL, "noise": 0.5}), images) - images).std((1, 2, 3))
    share = noise / images.std((1, 2, 3))
    assert 0.45 < share.max() < 0.52
    assert share.min() < 0.05


def test_probability_leaves_images_as_they_are(faces):
    images = as_tensor(faces, 200)
    drawn = draw(ImageAugmenter(**CHANGES, noise=0.5, blur=1, crop=0.2, probability=0.3), images)
    changed = (drawn != images).flatten(1).any(1).float().mean()
    assert 0.2 < changed < 0.4
    assert torch.equal(draw(ImageAugmenter(probability=0), images), images)


def test_options_that_are_off_do_not_change_the_draws(faces):
    images = as_tensor(faces)
    with_noise = draw(ImageAugmenter(noise=1e-6), images)
    torch.testing.assert_close(with_noise, draw(ImageAugmenter(), images), atol=0.01, rtol=0)
    digest = draw(ImageAugmenter(**CHANGES), torch.linspace(0, 255, 16 * 256).view(16, 1, 16, 16)).mean((1, 2, 3))
    assert digest[:3].tolist() == pytest.approx([3.953, 29.627, 44.739], abs=0.01)


def test_the_sampler_has_the_options_too(faces):
    X, _ = ImageAugmenter(crop=4, blur=1, noise=0.3, probability=0.5, random_state=0).fit_resample(
        faces.data, faces.target
    )
    assert X.dtype == np.uint8
    assert 0.3 < (X[210:] != faces.data).any(axis=1).mean() < 0.7
    for bad in ({"crop": 1.5}, {"crop": -1}, {"blur": -1}, {"noise": -1}, {"probability": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ImageAugmenter(**bad).fit_resample(faces.data, faces.target)


# augmentations of others


class Record:
    """A callable that notes what it gets."""

    def __init__(self):
        self.batches, self.means = [], []

    def __call__(self, images):
        self.batches.append((images.dtype, tuple(images.shape), int(images.max())))
        self.means += images.float().mean((1, 2, 3)).tolist()
        return images

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("scale", [1, 1 / 255], ids=["bytes", "fractions"])
def test_a_callable_gets_batches_of_bytes(scale, tiny, faces):
    X, record = (faces.data if scale == 1 else (faces.data * np.float32(scale))), Record()
    model = tiny(augment=[ImageAugmenter(**STILL), record], tta=None).fit(X, faces.target)
    assert {dtype for dtype, _, _ in record.batches} == {torch.uint8}
    assert sum(shape[0] for _, shape, _ in record.batches) == 210
    assert {shape[1:] for _, shape, _ in record.batches} == {(1, 48, 48)}
    assert max(highest for _, _, highest in record.batches) == faces.data.max()
    plain = tiny(augment=None).fit(X, faces.target)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-4)


def test_transforms_of_torchvision_draw_for_each_image(tiny, faces):
    same = np.tile(faces.data[:1], (64, 1))
    for jitter in (v2.ColorJitter(0.5), v2.Compose([v2.ColorJitter(0.5)]), torch.nn.Sequential(v2.ColorJitter(0.5))):
        record = Record()
        tiny(augment=[jitter, record]).fit(same, np.arange(64) % 2)
        assert len(record.means) == 64
        assert len(set(record.means)) > 40


def halve(images):
    return images.float() / 510


def test_floats_from_0_to_1_come_back_on_the_scale_of_the_images(tiny, faces):
    expected = tiny(augment=lambda images: images // 2).fit(faces.data, faces.target).predict_proba(faces.data)
    got = tiny(augment=halve).fit(faces.data, faces.target).predict_proba(faces.data)
    np.testing.assert_allclose(got, expected, atol=0.02)


@pytest.mark.parametrize(
    "augment", [v2.RandomRotation(20), [ImageAugmenter(), v2.ColorJitter(0.5)]], ids=["one", "two"]
)
def test_draws_of_others_repeat_with_the_seed(augment, tiny, faces):
    first, second, other = (
        tiny(augment=augment, random_state=seed).fit(faces.data, faces.target).predict_proba(faces.data)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda images: images.float(), "augment to return uint8 images or floats from 0 to 1, got torch.float32"),
        (lambda images: images[:2], r"a tensor of shape \(53, 1, 48, 48\), got shape \(2, 1, 48, 48\)"),
        (lambda images: images.cpu().numpy().tolist(), "got list"),
        ([3], "callables in augment, got 3"),
        ("flip", "augment"),
        (ImageAugmenter(rotation=-1), "rotation"),
        ([halve, ImageAugmenter(rotation=-1)], "rotation"),
    ],
)
def test_augmentations_that_are_none(augment, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny(augment=augment).fit(faces.data, faces.target)


def test_standardized_images_cannot_be_bytes(tiny, faces):
    with pytest.raises(ValueError, match=r"from 0 to 255 or from 0 to 1.* got a range of -\d"):
        tiny(augment=halve).fit((faces.data - np.float32(128)) / 50, faces.target)


def test_augmentations_of_others_are_drawn(faces):
    steps = [ImageAugmenter(noise=0.2), v2.ColorJitter(0.5), halve]
    display, again = (AugmentationDisplay.from_estimator(steps, faces.images[0], n_draws=3) for _ in range(2))
    assert display.labels == ["ImageAugmenter", "ColorJitter", "halve", "all together"]
    assert len({image.tobytes() for image in display.images[1]}) == 4
    assert all((one == other).all() for one, other in zip(display.images, again.images, strict=True))
    assert AugmentationDisplay.from_estimator(halve, faces.images[0]).labels == ["halve"]


def test_copies_of_a_frame_of_integers_are_rounded(faces):
    small = {"horizontal_flip": 0, "rotation": 5, "translation": 0, "scale": 0, "contrast": 0}
    augmenter = ImageAugmenter(random_state=0, **small)
    expected, _ = augmenter.fit_resample(faces.data[:40], faces.target[:40])
    frame = pd.DataFrame(faces.data[:40].astype(np.int64))
    got, _ = augmenter.fit_resample(frame, faces.target[:40])
    np.testing.assert_array_equal(got.to_numpy(), expected)
    with pytest.raises(ValueError, match="Expected a label for each image, got 1 missing"):
        augmenter.fit_resample(faces.data[:3], ["a", None, "b"])
