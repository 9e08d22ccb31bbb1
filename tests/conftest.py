"""Fixtures import what they need, because the process that hands out the tests needs none of it."""

import gc
import os
import sys
from contextlib import contextmanager

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # a test must not fail on a busy machine
settings.load_profile("any machine")


def pytest_configure():
    gc.disable()  # imports create half a million objects and almost no garbage
    # GPUs of NVIDIA would round float32 to the 10 bits of TF32, or not, depending on the size of a batch
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"


def pytest_collection_finish():
    gc.freeze()  # these objects stay, so that no collection needs to look at them
    gc.enable()
    if torch := sys.modules.get("torch"):  # two trainings on a GPU are only equal without cuDNN's fastest algorithms
        torch.backends.cudnn.deterministic = True


@pytest.fixture(scope="session")
def faces():
    from ferkit.datasets import make_faces

    return make_faces(210, random_state=0)


@pytest.fixture
def file_size_limit():
    """Context in which files cannot grow beyond some bytes, as if the disk were full."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Linux limits the size of files")
    import resource

    @contextmanager
    def limit(n_bytes):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limit


@pytest.fixture
def tiny():
    """Parameters that make a FERClassifier small enough for a test."""
    from ferkit import FERClassifier

    def build(backbone="cnn", **params):
        defaults = {"max_epochs": 1, "batch_size": 64, "random_state": 0}
        if backbone == "cnn":
            defaults["backbone_params"] = {"widths": (8, 16)}
        return FERClassifier(backbone, **{**defaults, **params})

    return build


@pytest.fixture(scope="session")
def fitted(faces):
    """A small fitted model with string labels."""
    from ferkit import FERClassifier

    model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=2, batch_size=64, random_state=0)
    return model.fit(faces.data, faces.target_names[faces.target])


@pytest.fixture
def quick(monkeypatch):
    """Leave figures empty, because they take most of the time of a short run."""
    from matplotlib.figure import Figure

    def savefig(self, file, **options):
        if not hasattr(file, "write"):
            file.touch()

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """torchvision's cache, in which lies a resnet18 of our own as the published one."""
    import torch
    from torchvision.models import get_model, get_model_weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(3)
    network = get_model("resnet18")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = get_model_weights("resnet18").DEFAULT.url
    torch.save(network.state_dict(), folder / url.rpartition("/")[2])
    return network.state_dict()


@pytest.fixture
def one_thread():
    """Sums are rounded differently by another number of threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pyplot_state():
    """Backend, settings and open figures of matplotlib, all different from the default."""
    import matplotlib.pyplot as plt

    with plt.rc_context():
        backend = plt.get_backend()
        plt.switch_backend("svg")
        plt.rcParams["font.size"] = 7
        plt.figure()
        yield lambda: (plt.get_backend(), dict(plt.rcParams), plt.get_fignums())
        plt.close("all")
        plt.switch_backend(backend)
