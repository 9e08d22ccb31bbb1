import pytest
import torch

from ferkit.backbones import BACKBONES, CNN, resolve_backbone, set_dropout

NAMES = [*BACKBONES, "resnet18", "vgg16", "googlenet"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_every_backbone_learns_in_every_parameter(name, in_channels):
    network = resolve_backbone(name).build(num_classes=5, in_channels=in_channels)
    logits = network(torch.randn(2, in_channels, 48, 48))
    outputs = logits if isinstance(logits, tuple) else (logits,)
    assert outputs[0].shape == (2, 5)
    sum(output.square().sum() for output in outputs).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 50), (64, 64)])
def test_own_network_takes_any_size(size):
    assert CNN(num_classes=3, in_channels=1).eval()(torch.randn(2, 1, *size)).shape == (2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_reaches_every_backbone(name):
    network = resolve_backbone(name).build(num_classes=5, in_channels=1)
    set_dropout(network, 0.25)
    assert {layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)} == {0.25}


def test_dropout_without_a_place_for_it_says_so():
    with pytest.raises(ValueError, match="no dropout and no linear layer"):
        set_dropout(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), 0.5)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_backbone("resnet_18")


def test_a_network_that_exists_is_refused():
    with pytest.raises(TypeError, match="pass the class"):
        resolve_backbone(CNN(num_classes=2))
