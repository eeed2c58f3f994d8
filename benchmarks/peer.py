"""The DNC, SAM and SDNC of the PyTorch package `dnc` 1.1.0, with what is broken in it repaired.

``pip install torch`` and ``pip install --no-deps dnc==1.1.0``.

As it is published, the sparse memories fail. They look for a nearest neighbour index of a package that no longer
installs: here they get an exact search. And they change in place what their gradient needs: here they make a copy.
"""

import contextlib
import importlib
import inspect
import io
import re
import sys
import types
from unittest import mock


class ExactIndex:
    """What the sparse memories ask of their index, for the rows of one memory."""

    def __init__(self, K=4, **kwargs):
        self._count = K
        self._rows = None

    def reset(self):
        """Forget the rows."""
        self._rows = None

    def add(self, other, positions=None, last=None):
        """Search these rows from now on, or the first `last` of them."""
        self._rows = other.detach()[:last]

    def search(self, query, k=None):
        """Squared distances, up to what is the same for all rows, and the numbers of the nearest rows."""
        distances = (self._rows**2).sum(1) - 2 * query.detach() @ self._rows.T
        count = min(k or self._count, len(self._rows))
        return distances.topk(count, dim=1, largest=False)


def _import_repaired():
    """The classes by our names for them."""
    index = types.ModuleType("dnc.flann_index")
    vars(index)["FLANNIndex"] = ExactIndex
    sys.modules["dnc.flann_index"] = index
    for name in ("sparse_memory", "sparse_temporal_memory"):
        module = importlib.import_module(f"dnc.{name}")
        source = inspect.getsource(module)
        source = re.sub(r"^(\s*)(\S+)\.scatter_\(", r"\1\2 = \2.scatter(", source, flags=re.M)
        exec(source.replace(".scatter_(", ".scatter("), vars(module))
    sam, sdnc = (importlib.import_module(f"dnc.{name}") for name in ("sam", "sdnc"))
    vars(sam)["SparseMemory"] = vars(sys.modules["dnc.sparse_memory"])["SparseMemory"]
    temporal = vars(sys.modules["dnc.sparse_temporal_memory"])["SparseTemporalMemory"]
    vars(sdnc)["SparseTemporalMemory"] = temporal
    return {"dnc": importlib.import_module("dnc").DNC, "sam": sam.SAM, "sdnc": sdnc.SDNC}


class Peer:
    """A network of the package, and its training step.

    Parameters
    ----------
    kind : {'dnc', 'sam', 'sdnc'}
    num_slots, width, num_reads, num_read_slots, num_units, num_features : int
    threads : int
    """

    def __init__(
        self, kind, num_slots, width, num_reads, num_read_slots, num_units, num_features, threads
    ):
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        options = {} if kind == "dnc" else {"sparse_reads": num_read_slots}
        self._network = _import_repaired()[kind](
            input_size=num_features,
            hidden_size=num_units,
            rnn_type="lstm",
            num_layers=1,
            num_hidden_layers=1,
            nr_cells=num_slots,
            cell_size=width,
            read_heads=num_reads,
            batch_first=True,
            gpu_id=-1,
            **options,
        )
        self._parameters = list(self._network.parameters())
        self._rule = torch.optim.RMSprop(self._parameters, lr=1e-4)
        self._torch = torch

    def train(self, x, y):
        """A training step: the loss."""
        torch = self._torch
        self._rule.zero_grad()
        # The package prints a line for each sequence when there is no index of the kind that it would rather have
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.dict(sys.modules, faiss=None):
            output, _ = self._network(
                torch.from_numpy(x), (None, None, None), reset_experience=True
            )
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, torch.from_numpy(y))
        loss.backward()
        torch.nn.utils.clip_grad_value_(self._parameters, 10.0)
        self._rule.step()
        return loss.item()
