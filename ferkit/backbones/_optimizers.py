"""The optimizers that `FERClassifier` knows by name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


class Muon(torch.optim.AdamW):
    """Muon for the kernels of convolutions, and AdamW for all other parameters.

    The averaged gradient of a kernel is replaced by the nearest orthogonal matrix [1]_, as large as a step of Adam
    [2]_. PyTorch's own Muon takes no kernels, and no other parameters at the same time.

    References
    ----------
    .. [1] K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    .. [2] J. Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982.
    """

    momentum = 0.95

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = []
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.ndim == 4 and kernel.grad is not None:
                    gradients.append((group, kernel, kernel.grad))
                    kernel.grad = None  # AdamW leaves out parameters without a gradient
        super().step()
        for group, kernel, gradient in gradients:
            kernel.grad = gradient
            state = self.state[kernel]
            if not state:
                state["step"] = torch.zeros(())  # AdamW expects it in the state of every parameter
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average = state["momentum_buffer"]
            average.lerp_(gradient, 1 - self.momentum)
            update = gradient.lerp(average, self.momentum).flatten(1)  # Nesterov's momentum
            step = 0.2 * group["lr"] * max(update.shape) ** 0.5
            kernel.mul_(1 - group["lr"] * group["weight_decay"])
            kernel.sub_(orthogonalize(update).view_as(kernel).to(kernel.dtype), alpha=step)
        return loss


def orthogonalize(matrix):
    """Return nearly the nearest orthogonal matrix, in bfloat16, by five steps of a Newton-Schulz iteration."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    X = matrix.bfloat16().T if is_tall else matrix.bfloat16()
    X = X / (X.norm() + 1e-7)
    for _ in range(5):
        gram = X @ X.T  # the coefficients bring all singular values close to 1 in few steps [1]
        X = torch.addmm(X, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), X, beta=3.4445)
    return X.T if is_tall else X


@dataclass(frozen=True)
class Optimizer:
    """Class and arguments of an optimizer, its default weight decay, and its learning rate relative to Adam's."""

    build: Callable[..., torch.optim.Optimizer]
    arguments: dict
    weight_decay: float
    lr_scale: float


OPTIMIZERS = {
    "sgd": Optimizer(torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}, 5e-4, 25),
    "adam": Optimizer(torch.optim.Adam, {"fused": True}, 0, 1),
    "adamw": Optimizer(torch.optim.AdamW, {"fused": True}, 0.05, 1),
    "muon": Optimizer(Muon, {}, 0.05, 1),
}
