import pickle
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from skorch.callbacks import Callback
from torchvision.models import get_model, list_models

from ferkit import FERClassifier
from ferkit.backbones import CNN, find_sizes, list_backbones, register_backbone, resolve_backbone, summarize

PUBLISHED = list_models(module=torchvision.models)
# ferkit's own, listed before a test or an example registers others
OWN = [name for name in list_backbones() if name not in PUBLISHED]

# The smallest size that each network accepts, because it is the quickest: ferkit's own, and one of each family.
SMALLEST = {
    **dict.fromkeys(OWN, 16),
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 16,
    "efficientnet_v2_s": 16,
    "googlenet": 16,
    "inception_v3": 299,
    "mnasnet0_5": 16,
    "mobilenet_v2": 16,
    "mobilenet_v3_small": 16,
    "regnet_y_400mf": 16,
    "resnet18": 16,
    "resnext50_32x4d": 16,
    "shufflenet_v2_x0_5": 16,
    "squeezenet1_1": 24,
    "swin_t": 16,
    "swin_v2_t": 16,
    "vgg11_bn": 32,
    "vit_b_32": 224,
    "maxvit_t": 224,
    "timm/resnet10t": 16,
    "timm/mobilenetv3_small_050": 16,
}
FIXED_SIZE = ["vit_b_32", "maxvit_t"]
LARGE = ["efficientnet_v2_s", "inception_v3", "swin_v2_t"]  # with a smaller relative in the list
COMPUTE_WITH_VALUES = ["regnet_y_400mf", "resnet50v2"]  # when they are built, which "meta" tensors do not have
# Every size from 16 to 512 is tried, which takes seconds for networks of many layers.
QUICK_TO_SEARCH = ["cnn_small", "alexnet", "resnet18", "squeezenet1_1", "vgg11_bn", *FIXED_SIZE]


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in SMALLEST]
)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    """A network of each family, for gray images and five classes. Tests restore what they change."""
    return resolve_backbone(name).build(num_classes=5, in_channels=1)


def test_every_backbone_takes_color_images(name):
    with torch.device("cpu" if name in COMPUTE_WITH_VALUES else "meta"):
        network = resolve_backbone(name).build(num_classes=5, in_channels=3).eval()
        assert network(torch.empty(2, 3, SMALLEST[name], SMALLEST[name])).shape == (2, 5)


@pytest.mark.parametrize("in_channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_every_parameter_of_a_backbone_gets_a_finite_gradient(name, network, in_channels):
    if in_channels != 1:
        network = resolve_backbone(name).build(num_classes=5, in_channels=in_channels)
    depths = {module: module.p for module in network.modules() if "StochasticDepth" in type(module).__name__}
    for module in depths:
        module.p = 0.0  # otherwise it leaves out layers at random
    height = SMALLEST[name]
    width = height if name in FIXED_SIZE else height + 7
    logits = network.train()(torch.randn(2, in_channels, height, width))
    outputs = logits if isinstance(logits, tuple) else (logits,)
    assert outputs[0].shape == (2, 5)
    sum(output.square().sum() for output in outputs).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        # in the sum, because a sum with an infinity or NaN in it is not finite either
        assert torch.isfinite(parameter.grad.sum()), parameter_name
    network.zero_grad()
    for module, p in depths.items():
        module.p = p


def test_every_backbone_is_pickled(name, network):
    network.eval()
    again = pickle.loads(pickle.dumps(network))
    image = torch.randn(1, 1, SMALLEST[name], SMALLEST[name])
    with torch.no_grad():
        assert torch.equal(network(image), again(image))


def test_every_backbone_has_a_reference_a_head_and_a_summary(name, network):
    backbone = resolve_backbone(name)
    assert backbone.reference
    with torch.device("cpu" if name in COMPUTE_WITH_VALUES else "meta"):
        other = backbone.build(num_classes=6, in_channels=1)
    shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
    head = [name for name, parameter in network.named_parameters() if parameter.shape != shapes[name]]
    assert head, "some parameters belong to the classes"
    summary = summarize(network, (1, backbone.input_size, backbone.input_size))
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters
    assert sum(layer.flops for layer in summary.layers) == summary.flops > 0
    assert summary.parameters == sum(parameter.numel() for parameter in network.parameters())


class Stopped(Exception):
    pass


class StopBeforeTraining(Callback):
    """Stop before the first batch and keep the network."""

    def on_train_begin(self, net, **kwargs):
        self.network = net.module_.backbone
        raise Stopped


def test_dropout_reaches_every_backbone(name):
    stop, size = StopBeforeTraining(), SMALLEST[name]
    images = np.random.default_rng(0).integers(0, 256, (4, size, size), dtype=np.uint8)
    with pytest.raises(Stopped):
        FERClassifier(name, dropout=0.25, callbacks=[stop]).fit(images, [0, 1, 0, 1])
    assert {layer.p for layer in stop.network.modules() if isinstance(layer, torch.nn.Dropout)} == {0.25}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK_TO_SEARCH else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST],
)
def test_find_sizes_finds_the_smallest_size(name):
    assert find_sizes(resolve_backbone(name).build, in_channels=1)[0] == SMALLEST[name]


def test_published_costs():
    """The costs in torchvision's documentation, in billions of multiply-adds."""
    for name, parameters, multiply_adds in (("resnet18", 11689512, 1.814), ("densenet121", 7978856, 2.834)):
        summary = summarize(get_model(name), (3, 224, 224))
        assert summary.parameters == parameters
        assert summary.flops / 2e9 == pytest.approx(multiply_adds, abs=1e-3)


def test_every_network_of_torchvision_is_listed():
    names = list_backbones()
    assert set(names) >= {*OWN, *PUBLISHED}
    assert len(names) == len(set(names))
    assert all(resolve_backbone(name).reference != "torchvision" for name in names), "a family without its paper"


def test_googlenet_has_its_auxiliary_heads_only_in_training():
    network = resolve_backbone("googlenet").build(num_classes=5, in_channels=1)
    image = torch.randn(2, 1, 48, 48)
    assert [logits.shape for logits in network(image)] == [(2, 5)] * 3
    assert network.eval()(image).shape == (2, 5)


def test_resnet18_fer_does_not_shrink_small_faces_in_its_stem():
    summary = summarize(resolve_backbone("resnet18_fer").build(num_classes=5, in_channels=1), (1, 48, 48))
    assert summary.layers[0].shape == (64, 48, 48)
    assert [layer.shape for layer in summary.layers if layer.kind == "Conv2d"][-1] == (512, 6, 6)


def test_registered_backbones_work_like_all_others(tiny, faces):
    register_backbone("mine", partial(CNN, widths=(8,)), optimizer="sgd", lr=0.05, reference="me")
    assert "mine" in list_backbones()
    model = tiny("mine").fit(faces.data, faces.target)
    assert (model.optimizer_, model.lr_) == ("sgd", 0.05)
    for taken in ("mine", "cnn", "resnet18", "timm/anything"):
        with pytest.raises(ValueError, match="choose another name"):
            register_backbone(taken, CNN)
    with pytest.raises(TypeError, match="pass the class"):
        register_backbone("ready", CNN(num_classes=2))
    with pytest.raises(ValueError, match="sgd, adam, adamw, muon, got 'rmsprop'"):
        register_backbone("other", CNN, optimizer="rmsprop")


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 50), (64, 64)])
def test_ferkits_network_takes_any_size(size):
    assert CNN(num_classes=3, in_channels=1).eval()(torch.randn(2, 1, *size)).shape == (2, 3)


def test_dropout_reaches_every_kind_of_dropout_layer(tiny, faces):
    def build(num_classes, in_channels):
        kinds = [torch.nn.Dropout2d(), torch.nn.AlphaDropout(), torch.nn.Dropout()]
        flat = [torch.nn.Flatten(), torch.nn.Linear(48 * 48 * in_channels, num_classes)]
        return torch.nn.Sequential(*kinds, *flat)

    network = tiny(build, dropout=0.25).fit(faces.data[:14], faces.target[:14]).network_.backbone
    assert [layer.p for layer in network if hasattr(layer, "p")] == [0.25] * 3


def test_dropout_needs_a_dropout_or_linear_layer(tiny, faces):
    def build(num_classes, in_channels):
        return torch.nn.Sequential(torch.nn.Conv2d(in_channels, num_classes, 48), torch.nn.Flatten())

    with pytest.raises(ValueError, match=r"dropout layer or a linear layer .* got Sequential with neither"):
        tiny(build, dropout=0.5).fit(faces.data, faces.target)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_backbone("resnet_18")
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_backbone("timm/resnet19")


def test_a_network_object_is_refused():
    with pytest.raises(TypeError, match="pass the class"):
        resolve_backbone(CNN(num_classes=2))
