import pickle
from functools import partial

import pytest
import torch
from torchvision.models import get_model, list_models

import ferkit.backbones
from ferkit.backbones import CNN, find_sizes, list_backbones, register_backbone, resolve_backbone, summarize
from ferkit.backbones._inspect import build_meta
from ferkit.backbones._registry import BACKBONES, set_dropout
from ferkit.training._transfer import find_head

# ferkit's own, and one of each family
FIXED_SIZE = ["vit_b_32", "maxvit_t"]
NAMES = [
    *BACKBONES,
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    *FIXED_SIZE,
    "timm/resnet10t",
    "timm/mobilenetv3_small_050",
]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


def smallest(name):
    return find_sizes(resolve_backbone(name).build, in_channels=1)[0]


@pytest.mark.parametrize("in_channels", [1, 3])
def test_every_backbone_learns_in_every_parameter(name, in_channels):
    network = resolve_backbone(name).build(num_classes=5, in_channels=in_channels)
    for module in network.modules():
        if "StochasticDepth" in type(module).__name__:
            module.p = 0.0  # otherwise it leaves out layers by chance
    height = smallest(name)
    width = height if name in FIXED_SIZE else height + 7
    logits = network(torch.randn(2, in_channels, height, width))
    outputs = logits if isinstance(logits, tuple) else (logits,)
    assert outputs[0].shape == (2, 5)
    sum(output.square().sum() for output in outputs).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


def test_every_backbone_is_pickled(name):
    size = smallest(name)
    network = resolve_backbone(name).build(num_classes=5, in_channels=1).eval()
    again = pickle.loads(pickle.dumps(network))
    image = torch.randn(1, 1, size, size)
    with torch.no_grad():
        assert torch.equal(network(image), again(image))


def test_every_backbone_says_what_it_is(name):
    backbone = resolve_backbone(name)
    assert backbone.reference
    head = find_head(backbone.build, in_channels=1)
    assert head, "some parameters belong to the classes"
    network = build_meta(backbone.build, num_classes=5, in_channels=1)
    summary = summarize(network, (1, backbone.input_size, backbone.input_size))
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters
    assert sum(layer.flops for layer in summary.layers) == summary.flops > 0
    assert summary.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_published_costs():
    """The costs in torchvision's documentation, in billions of multiply-adds."""
    for name, parameters, multiply_adds in (("resnet18", 11689512, 1.814), ("densenet121", 7978856, 2.834)):
        summary = summarize(get_model(name), (3, 224, 224))
        assert summary.parameters == parameters
        assert summary.flops / 2e9 == pytest.approx(multiply_adds, abs=1e-3)


def test_every_network_of_torchvision_is_listed():
    import torchvision

    names = list_backbones()
    assert set(names) >= {*BACKBONES, *list_models(module=torchvision.models)}
    assert len(names) == len(set(names))
    assert all(resolve_backbone(name).reference != "torchvision" for name in names), "a family without its paper"


def test_googlenet_has_its_auxiliary_heads_only_in_training():
    network = resolve_backbone("googlenet").build(num_classes=5, in_channels=1)
    image = torch.randn(2, 1, 48, 48)
    assert [logits.shape for logits in network(image)] == [(2, 5)] * 3
    assert network.eval()(image).shape == (2, 5)


def test_resnet18_fer_looks_at_small_faces_in_full():
    summary = summarize(resolve_backbone("resnet18_fer").build(num_classes=5, in_channels=1), (1, 48, 48))
    assert summary.layers[0].shape == (64, 48, 48)
    assert [layer.shape for layer in summary.layers if layer.kind == "Conv2d"][-1] == (512, 6, 6)


def test_registered_backbones_are_like_all_others(monkeypatch, tiny, faces):
    monkeypatch.setattr(ferkit.backbones._registry, "BACKBONES", dict(BACKBONES))
    register_backbone("mine", partial(CNN, widths=(8,)), optimizer="sgd", lr=0.05, reference="me")
    assert "mine" in list_backbones()
    model = tiny("mine").fit(faces.data, faces.target)
    assert (model.optimizer_, model.lr_) == ("sgd", 0.05)
    for taken in ("mine", "cnn", "resnet18", "timm/anything"):
        with pytest.raises(ValueError, match="choose another name"):
            register_backbone(taken, CNN)
    with pytest.raises(TypeError, match="pass the class"):
        register_backbone("ready", CNN(num_classes=2))
    with pytest.raises(ValueError, match="sgd, adam, adamw, got 'rmsprop'"):
        register_backbone("other", CNN, optimizer="rmsprop")


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 50), (64, 64)])
def test_own_network_takes_any_size(size):
    assert CNN(num_classes=3, in_channels=1).eval()(torch.randn(2, 1, *size)).shape == (2, 3)


def test_dropout_reaches_every_backbone(name):
    network = resolve_backbone(name).build(num_classes=5, in_channels=1)
    set_dropout(network, 0.25)
    assert {layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)} == {0.25}


def test_dropout_without_a_layer_for_it_is_refused():
    with pytest.raises(ValueError, match=r"dropout layer or a linear layer .* got Sequential with neither"):
        set_dropout(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), 0.5)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_backbone("resnet_18")
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_backbone("timm/resnet19")


def test_a_network_that_exists_is_refused():
    with pytest.raises(TypeError, match="pass the class"):
        resolve_backbone(CNN(num_classes=2))
