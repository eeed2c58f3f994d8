"""The network as users of PyTorch write it: modules, and a Python loop over the time steps."""

import numpy as np
import torch
import torch.nn.functional as F
from cases import CLIP, LEARNING_RATE, NUM_FEATURES, NUM_SHIFTS, NUM_UNITS
from torch import nn
from torch.nn.utils import clip_grad_value_


class Head(nn.Module):
    """One linear layer for all that a head needs to know, and how it finds its place in memory.

    Parameters
    ----------
    sizes : list of int
        Of the parts that the layer gives: key, beta, gate, shift, gamma, and others.
    """

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.linear = nn.Linear(NUM_UNITS, sum(sizes))

    def parts(self, hidden):
        """The layer's parts, each (B, size), from the hidden state (B, H)."""
        return torch.split(self.linear(hidden), self.sizes, dim=1)

    def address(self, key, beta, gate, shift, gamma, weights, memory):
        """New weights (B, N) from those of the step before and the memory (B, N, M)."""
        key = torch.tanh(key)
        dots = torch.matmul(memory, key.unsqueeze(2)).squeeze(2)
        norms = (key**2).sum(1, keepdim=True) * (memory**2).sum(2)
        content = F.softmax(F.softplus(beta) * dots / torch.sqrt(norms + 1e-6), dim=1)
        gate = torch.sigmoid(gate)
        mixed = gate * content + (1.0 - gate) * weights
        shift = F.softmax(shift, dim=1)
        shifted = (
            shift[:, 0:1] * torch.roll(mixed, -1, dims=1)
            + shift[:, 1:2] * mixed
            + shift[:, 2:3] * torch.roll(mixed, 1, dims=1)
        )
        return F.softmax((1.0 + F.softplus(gamma)) * torch.log(shifted + 1e-6), dim=1)


class ReadHead(Head):
    """A head for slots of some width."""

    def __init__(self, width):
        super().__init__([width, 1, 1, NUM_SHIFTS, 1])

    def forward(self, hidden, weights, memory):
        """New weights (B, N)."""
        return self.address(*self.parts(hidden), weights, memory)


class WriteHead(Head):
    """A head for slots of some width, with an erase and an add vector."""

    def __init__(self, width):
        super().__init__([width, 1, 1, NUM_SHIFTS, 1, width, width])

    def forward(self, hidden, weights, memory):
        """New weights (B, N), erase and add vectors (B, M)."""
        *parts, erase, add = self.parts(hidden)
        weights = self.address(*parts, weights, memory)
        return weights, torch.sigmoid(erase), torch.tanh(add)

    def start(self, hidden, weights):
        """The same before the first step, where the weights are given."""
        *_, erase, add = self.parts(hidden)
        return weights, torch.sigmoid(erase), torch.tanh(add)


class DenseController(nn.Module):
    """A rectified layer of the input and the reads."""

    def __init__(self, read_size):
        super().__init__()
        self.input = nn.Linear(NUM_FEATURES, NUM_UNITS)
        self.reads = nn.Linear(read_size, NUM_UNITS)

    def forward(self, x, reads, state):
        """The hidden state (B, H) and the controller's state."""
        return F.relu(self.input(x) + self.reads(reads)), state


class LSTMController(nn.Module):
    """An LSTM of the input and the reads; it has one bias more than `torch.nn.LSTMCell`."""

    def __init__(self, read_size):
        super().__init__()
        self.cell = nn.LSTMCell(NUM_FEATURES + read_size, NUM_UNITS)
        self.bias = nn.Parameter(torch.zeros(4 * NUM_UNITS))

    def forward(self, x, reads, state):
        """The hidden state (B, H) and the controller's state (h, c)."""
        cell = self.cell
        state = torch.lstm_cell(
            torch.cat([x, reads], dim=1),
            state,
            cell.weight_ih,
            cell.weight_hh,
            cell.bias_ih + self.bias,
            cell.bias_hh,
        )
        return state[0], state


class Cell(nn.Module):
    """One time step.

    Parameters
    ----------
    network : cases.Network
    """

    def __init__(self, network):
        super().__init__()
        Controller = DenseController if network.controller == "dense" else LSTMController
        self.controller = Controller(network.num_heads * network.width)
        heads = range(network.num_heads)
        self.write_heads = nn.ModuleList(WriteHead(network.width) for _ in heads)
        self.read_heads = nn.ModuleList(ReadHead(network.width) for _ in heads)

    def forward(self, x, memory, writes, reads, state):
        """The output (B, H), then the new memory (B, N, M), what the heads give, and the state, as they are taken."""
        for weights, erase, _ in writes:
            memory = memory * (1.0 - weights.unsqueeze(2) * erase.unsqueeze(1))
        for weights, _, add in writes:
            memory = memory + weights.unsqueeze(2) * add.unsqueeze(1)
        vectors = [torch.matmul(weights.unsqueeze(1), memory).squeeze(1) for weights in reads]
        hidden, state = self.controller(x, torch.cat(vectors, dim=1), state)
        writes = [
            head(hidden, weights, memory)
            for head, (weights, _, _) in zip(self.write_heads, writes, strict=True)
        ]
        reads = [
            head(hidden, weights, memory)
            for head, weights in zip(self.read_heads, reads, strict=True)
        ]
        return hidden, memory, writes, reads, state


class NTM(nn.Module):
    """The cell over all steps, and a linear layer.

    Parameters
    ----------
    network : cases.Network
    """

    def __init__(self, network):
        super().__init__()
        self.cell = Cell(network)
        self.output = nn.Linear(NUM_UNITS, NUM_FEATURES)
        self.hidden = nn.Parameter(torch.zeros(1, NUM_UNITS))
        self.state = (
            nn.Parameter(torch.zeros(1, NUM_UNITS)) if network.controller == "lstm" else None
        )
        self.register_buffer("memory", torch.zeros(network.num_slots, network.width))
        self.register_buffer("weights", torch.zeros(2 * network.num_heads, network.num_slots))

    def forward(self, x):
        """Logits (B, T, 9) for an input (B, T, 9)."""
        batch, heads = len(x), len(self.cell.write_heads)
        hidden = self.hidden.expand(batch, -1)
        state = () if self.state is None else (hidden, self.state.expand(batch, -1))
        memory = self.memory.repeat(batch, 1, 1)
        weights = [row.repeat(batch, 1) for row in self.weights]
        writes = [
            head.start(hidden, initial)
            for head, initial in zip(self.cell.write_heads, weights[:heads], strict=True)
        ]
        reads = weights[heads:]
        outputs = []
        for x_t in x.unbind(1):
            hidden, memory, writes, reads, state = self.cell(x_t, memory, writes, reads, state)
            outputs.append(hidden)
        return self.output(torch.stack(outputs, dim=1))


class CenteredRMSprop(torch.optim.Optimizer):
    """RMSProp with momentum, as in Graves 2013; `torch.optim.RMSprop` adds its epsilon elsewhere."""

    def __init__(self, params, lr, chi=0.95, alpha=0.9, epsilon=1e-4):
        super().__init__(params, {"lr": lr, "chi": chi, "alpha": alpha, "epsilon": epsilon})

    @torch.no_grad()
    def step(self):
        """Change the parameters by their gradients."""
        for group in self.param_groups:
            chi = group["chi"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(
                        {name: torch.zeros_like(p) for name in ("square", "mean", "delta")}
                    )
                square, mean, delta = state["square"], state["mean"], state["delta"]
                square.mul_(chi).addcmul_(p.grad, p.grad, value=1.0 - chi)
                mean.mul_(chi).add_(p.grad, alpha=1.0 - chi)
                deviation = square.addcmul(mean, mean, value=-1.0).add_(group["epsilon"]).sqrt_()
                delta.mul_(group["alpha"]).addcdiv_(p.grad, deviation, value=-group["lr"])
                p.add_(delta)


def state_dict(network, parameters):
    """Our parameters as `NTM.load_state_dict` takes them.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`ours.initial_parameters`.
    """

    def side_by_side(names):
        return np.concatenate([parameters[name] for name in names], axis=-1).T

    writes, reads = ([f"{kind}{k}" for k in range(network.num_heads)] for kind in ("write", "read"))
    values = {
        "memory": parameters["memory.memory_init"],
        "weights": np.concatenate([parameters[f"{head}.weights_init"] for head in writes + reads]),
        "hidden": parameters["controller.hid_init"],
        "output.weight": parameters["output.W"].T,
        "output.bias": parameters["output.b"],
    }
    for heads, module in ((writes, "write_heads"), (reads, "read_heads")):
        parts = ["key", "beta", "gate", "shift", "gamma"]
        parts += ["erase", "add"] if heads is writes else []
        for k, head in enumerate(heads):
            for kind, name in (("W", "weight"), ("b", "bias")):
                values[f"cell.{module}.{k}.linear.{name}"] = side_by_side(
                    [f"{head}.{part}.{kind}" for part in parts]
                )
    if network.controller == "dense":
        for source, module in (("in", "input"), ("reads", "reads")):
            for kind, name in (("W", "weight"), ("b", "bias")):
                values[f"cell.controller.{module}.{name}"] = side_by_side(
                    [f"controller.{kind}_{source}_to_hid"]
                )
    else:
        gates = ["input", "forget", "cell", "output"]  # in PyTorch's order
        fused = {
            f"{kind}_{source}": side_by_side(
                [f"controller.{kind}_{source}_to_{gate}" for gate in gates]
            )
            for kind in "Wb"
            for source in ("in", "reads", "hid")
        }
        values |= {
            "state": parameters["controller.cell_init"],
            "cell.controller.cell.weight_ih": np.hstack([fused["W_in"], fused["W_reads"]]),
            "cell.controller.cell.weight_hh": fused["W_hid"],
            "cell.controller.cell.bias_ih": fused["b_in"],
            "cell.controller.cell.bias_hh": fused["b_hid"],
            "cell.controller.bias": fused["b_reads"],
        }
    return {name: torch.tensor(value) for name, value in values.items()}


class Torch:
    """The module, with its cell compiled on request.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`ours.initial_parameters`.
    compiled : bool
        Whether to ``torch.compile`` the cell.
    """

    def __init__(self, network, parameters, compiled=False):
        # As XLA does. Without it the tiny gradients of a long sequence take up to forty times as long
        torch.set_flush_denormal(True)
        self._model = NTM(network)
        self._model.load_state_dict(state_dict(network, parameters))
        self._optimizer = CenteredRMSprop(self._model.parameters(), lr=LEARNING_RATE)
        if compiled:
            self._model.cell.compile()

    def train(self, x, y, mask):
        """One training step on inputs and targets (B, T, 9) and mask (B, T): the loss before it, a float."""
        x, y, mask = map(torch.from_numpy, (x, y, mask))
        errors = F.binary_cross_entropy_with_logits(self._model(x), y, reduction="none")
        loss = (errors * mask.unsqueeze(2)).sum() / len(x)
        self._optimizer.zero_grad()
        loss.backward()
        clip_grad_value_(self._model.parameters(), CLIP)
        self._optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def predict(self, x):
        """Probabilities, an array (B, T, 9)."""
        return torch.sigmoid(self._model(torch.from_numpy(x))).numpy()
