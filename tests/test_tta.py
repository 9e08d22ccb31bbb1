"""Test-time augmentation: views of an image whose predictions are averaged."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from ferkit import FERClassifier, ImageAugmenter


@pytest.fixture(scope="module")
def model(faces):
    model = FERClassifier(
        backbone_params={"widths": (8, 16)}, max_epochs=2, batch_size=64, random_state=0, precision="float32"
    )
    return model.fit(faces.data, faces.target)


def average(model, views):
    """Mean of the probabilities of stacks of images."""
    model.set_params(tta=None)
    return np.mean([model.predict_proba(view) for view in views], axis=0)


@pytest.mark.parametrize("n", [3, 210], ids=["joined", "one pass per view"])
def test_ten_crops_are_corners_and_center_and_their_mirror_images(n, model, faces):
    images = faces.images[:n]
    low, high, middle = slice(0, 42), slice(6, 48), slice(3, 45)
    places = [(low, low), (low, high), (high, low), (high, high), (middle, middle)]
    crops = [images[:, rows, columns] for rows, columns in places]
    crops += [crop[..., ::-1] for crop in crops]
    resize = torch.nn.Upsample((48, 48), mode="bilinear")
    views = [resize(torch.from_numpy(crop[:, None].astype(np.float32))) for crop in crops]
    expected = average(model, views)
    np.testing.assert_allclose(model.set_params(tta="ten_crop").predict_proba(images), expected, atol=1e-5)


def test_random_views_repeat_and_do_not_depend_on_other_images(model, faces):
    several = model.set_params(tta=4).predict_proba(faces.data)
    np.testing.assert_array_equal(model.predict_proba(faces.data), several)
    np.testing.assert_allclose(model.predict_proba(faces.data[150:153]), several[150:153], atol=1e-5)
    assert abs(several - model.set_params(tta=None).predict_proba(faces.data)).max() > 1e-3
    assert abs(several - model.set_params(tta=5).predict_proba(faces.data)).max() > 1e-4


def test_random_views_of_a_transform_of_torchvision_repeat(tiny, faces):
    model = tiny(augment=v2.RandomRotation(30), tta=3).fit(faces.data, faces.target)
    several = model.predict_proba(faces.data)
    state = torch.get_rng_state()
    np.testing.assert_array_equal(model.predict_proba(faces.data), several)
    assert torch.equal(torch.get_rng_state(), state), "others that draw from PyTorch are not disturbed"
    assert abs(several - model.set_params(tta=None).predict_proba(faces.data)).max() > 1e-3


def mirror_both(images):
    assert images.dtype == torch.uint8
    return [images, images.flip(3), images.flip(2)]


@pytest.mark.parametrize(
    "tta", [mirror_both, lambda images: torch.stack(mirror_both(images)), lambda images: tuple(mirror_both(images))]
)
@pytest.mark.parametrize("scale", [1, 1 / 255], ids=["bytes", "fractions"])
def test_a_callable_makes_the_views(tta, scale, model, faces):
    images = faces.images[:9]
    expected = average(model, [images, images[..., ::-1], images[:, ::-1]])
    shown = images if scale == 1 else images.astype(np.float32) * np.float32(scale)
    np.testing.assert_allclose(model.set_params(tta=tta).predict_proba(shown), expected, atol=1e-5)


def test_views_that_are_made_in_place_leave_the_images_as_they_are(model, faces, tmp_path):
    np.save(tmp_path / "faces.npy", faces.data[:9])
    images = np.load(tmp_path / "faces.npy", mmap_mode="c")
    expected = average(model, [faces.images[:9] // 2])
    shown = model.set_params(tta=lambda images: [images.floor_divide_(2)]).predict_proba(images)
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    np.testing.assert_array_equal(images, faces.data[:9])
    model.predict(np.load(tmp_path / "faces.npy", mmap_mode="r"))


def test_views_may_have_another_size(model, faces):
    plain = model.set_params(tta=None).predict_proba(faces.data[:5])
    cropped = model.set_params(tta=v2.TenCrop(40)).predict_proba(faces.data[:5])
    assert 1e-4 < abs(cropped - plain).max() < 0.5


def test_all_views_of_few_images_pass_the_network_at_once(model, faces):
    passes = []
    handle = model.network_.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    for tta, n_views in {"flip": 2, "ten_crop": 10, 4: 5, mirror_both: 3, None: 1}.items():
        model.set_params(tta=tta).predict_proba(faces.data[:6])
        assert passes.pop() == 6 * n_views
        assert not passes
    handle.remove()


@pytest.mark.parametrize(
    ("tta", "message"),
    [
        (lambda images: images, "a list of batches of 9 images, .* got shape \\(9, 1, 48, 48\\)"),
        (lambda images: [images[:2]], "got a list of 1 elements"),
        (lambda images: [images.float()], "uint8 images or floats from 0 to 1, got torch.float32"),
        ("twelve_crop", "tta"),
        (0, "tta"),
    ],
)
def test_views_that_are_none(tta, message, model, faces):
    with pytest.raises(ValueError, match=message):
        model.set_params(tta=tta).predict_proba(faces.data[:9])


def test_random_views_need_an_augmentation(tiny, faces):
    with pytest.raises(ValueError, match="tta=3 draws random views with `augment`"):
        tiny(augment=None, tta=3).fit(faces.data, faces.target)
    model = tiny(augment=ImageAugmenter(), tta=3, validation_fraction=0.2).fit(faces.data, faces.target)
    assert np.isfinite(model.history_[0]["valid_loss"])


@pytest.mark.parametrize(
    ("augment", "same_as"),
    [
        (None, None),
        (ImageAugmenter(horizontal_flip=0), None),
        ([ImageAugmenter(horizontal_flip=0)] * 2, None),
        ([ImageAugmenter(horizontal_flip=0), ImageAugmenter()], "flip"),
        ("auto", "flip"),
    ],
    ids=str,
)
def test_predictions_mirror_images_if_training_does(augment, same_as, faces):
    model = FERClassifier("cnn_small", augment=augment, max_epochs=1, batch_size=32, random_state=0)
    model.fit(faces.data, faces.target)
    assert (model.predict_proba(faces.data) == model.set_params(tta=same_as).predict_proba(faces.data)).all()
    other = "flip" if same_as is None else None
    assert not (model.predict_proba(faces.data) == model.set_params(tta=other).predict_proba(faces.data)).all()
