"""The settings that ``ntm train TASK --model NETWORK`` uses unless it is told otherwise: one block for each.

A block lists what differs from :class:`ntm.experiments.Settings` and from the network's own options
(:mod:`ntm.experiments.networks`). Within a block, a later line wins over a bundle unpacked before it. A block such as
``"ntm-gru"`` takes the place of ``"ntm"`` when that controller is asked for.
"""

import copy
from typing import Any, TypeAlias

#: Fields of :class:`ntm.experiments.Settings`
Block: TypeAlias = dict[str, Any]


def _at_lengths(*lengths: int) -> list[dict[str, int]]:
    return [{"length": length} for length in lengths]


# ---- Bundles that several blocks unpack

#: The learning rate falls to a fiftieth
COSINE: Block = {"schedule": "cosine", "schedule_options": {"last": 0.02}}

#: Recurrent controllers and stacks of recurrent layers learn in batches
BATCHES: Block = {
    "batch_size": 16,
    "max_steps": 5000,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    **COSINE,
    "clip_value": None,
    "clip_norm": 10.0,
}

#: NTM heads that start by writing slot after slot and reading by content. A blurred memory, or one that is read at the
#: wrong place, is noise at first, and some seeds learn to ignore it
IN_ORDER: Block = {
    "write_interpolation_bias": -3.0,
    "write_shift_bias": 4.0,
    "read_interpolation_bias": 2.0,
    "nonlinearity_add": "tanh",
}

#: The same for a DNC: it takes free slots, keeps what it reads, and reads on in the order of writing
DNC: Block = {
    "memory_slots": 64,
    "write_gate_bias": 3.0,
    "allocation_gate_bias": 4.0,
    "free_gate_bias": -4.0,
    "forward_bias": 3.0,
}
#: The same for a SAM, which has no temporal links: it takes the least recently used slots. Slots that were read are the
#: last to be written to, whether empty or not, so a sparse memory needs many
SAM: Block = {"memory_slots": 512, "write_gate_bias": 3.0, "interpolation_gate_bias": -4.0}
SDNC: Block = {**SAM, "forward_bias": 3.0}

#: A slot for each edge of a graph, wide enough for its 90 ones and zeros
GRAPH_MEMORY: Block = {"num_units": 256, "memory_slots": 64, "memory_width": 50}
SPARSE_GRAPH_MEMORY: Block = {**GRAPH_MEMORY, "memory_slots": 1024, "num_reads": 5}

#: The networks without a memory
STACKS = ("lstm", "gru", "dense")


# ---- What the blocks of a task share

# Larger steps learn copy sooner, but then some seeds are wrong at a vector of zeros once in a thousand sequences
COPY: Block = {"learning_rate": 5e-5, "evaluate_at": _at_lengths(10, 20, 40, 60, 80, 100, 120)}

OTHER_COPIES: Block = {"max_steps": 40_000, "evaluate_at": _at_lengths(10, 20, 40, 80)}

REPEAT_COPY: Block = {
    # A count of ones is kept in the memory like everything else
    "task_options": {"unary": True},
    "max_steps": 20_000,
    "learning_rate": 2e-4,
    **COSINE,
    "clip_norm": 10.0,
    "curriculum": "hardest-last",
    "curriculum_options": {"advance_below": 0.02},
    "stop_below": 5e-4,
    "num_buckets": 4,
    "evaluate_at": [
        {"length": 10, "repeats": 10},
        {"length": 10, "repeats": 20},
        {"length": 20, "repeats": 10},
    ],
}

# Large steps find the algorithm, small steps make it exact: large ones alone come to rely on the number of items.
# Training goes on after the task is solved, for lists longer than in training
ASSOCIATIVE_RECALL: Block = {
    "batch_size": 16,
    "max_steps": 6000,
    "learning_rate": 5e-4,
    "schedule": "cosine",
    "stop_below": 1e-4,
    "evaluate_at": [{"items": items} for items in (6, 12, 20)],
}

DYNAMIC_NGRAMS: Block = {
    **BATCHES,
    "max_steps": 8000,
    "stop_below": 2.0,
    "evaluate_at": _at_lengths(200),
}

PRIORITY_SORT: Block = {
    # From two vectors to twenty: with twenty from the start, nothing is learnt
    "task_options": {"min_items": 2},
    "batch_size": 16,
    "max_steps": 6000,
    "learning_rate": 5e-4,
    **COSINE,
    "curriculum": "linear",
    "curriculum_options": {"every": 200},
    "num_buckets": 4,
    "evaluate_at": [{"items": 20}],
}

SORT: Block = {
    "batch_size": 16,
    "max_steps": 25_000,
    "learning_rate": 5e-4,
    **COSINE,
    "stop_below": 0.01,
    "evaluate_at": _at_lengths(5, 10),
}

DYCK_WORDS: Block = {
    "batch_size": 16,
    "max_steps": 5000,
    "learning_rate": 3e-4,
    **COSINE,
    "stop_below": 3e-4,
    "evaluate_at": _at_lengths(5, 10, 20),
}

#: Addition and argmax, whose answer is a number
NUMBERS: Block = {
    "batch_size": 16,
    "max_steps": 6000,
    "learning_rate": 5e-4,
    **COSINE,
    "stop_below": 0.01,
    "evaluate_at": _at_lengths(10, 20, 100),
}

#: As in the DNC paper, a tenth of the batches come from the levels so far
GRAPHS: Block = {**BATCHES, "max_steps": 20_000, "curriculum": "look-back", "num_buckets": 4}

GRAPH_TRAVERSAL: Block = {
    **GRAPHS,
    "evaluate_at": [
        {"nodes": 5, "length": 2},
        {"nodes": 10, "length": 4},
        {"nodes": 15, "length": 6},
    ],
}

SHORTEST_PATH: Block = {
    **GRAPHS,
    "evaluate_at": [
        {"nodes": 5, "length": 2},
        {"nodes": 10, "length": 3},
        {"nodes": 15, "length": 4},
    ],
}


# ---- The blocks

DEFAULTS: dict[str, dict[str, Block]] = {
    "copy": {
        "ntm": COPY,
        "ntm-gru": {**COPY, "learning_rate": 1e-4, "stop_below": 0.003},
        "ntm-lstm": {**COPY, "learning_rate": 2e-4, "stop_below": 0.001, "max_steps": 40_000},
        "dnc": {
            **COPY,
            "learning_rate": 1e-4,
            "evaluate_at": _at_lengths(10, 20, 40, 60),
            "model_options": DNC,
        },
        "sam": {
            **COPY,
            "batch_size": 8,
            "max_steps": 10_000,
            "learning_rate": 2e-4,
            **COSINE,
            "clip_norm": 10.0,
            "stop_below": 0.005,
            "model_options": SAM,
        },
        "sdnc": {**COPY, "learning_rate": 1e-4, "model_options": SDNC},
        "lstm": {**COPY, **BATCHES},
        "gru": {**COPY, **BATCHES},
        "dense": COPY,
    },
    "reversed-copy": {
        # With an LSTM the network knows which phase it is in. Some seeds then generalise; with dense layers none did
        "ntm": {**OTHER_COPIES, "model_options": {"controller": "lstm"}},
        "dnc": {**OTHER_COPIES, "model_options": DNC},
        "sam": {**OTHER_COPIES, "model_options": SAM},
        "sdnc": {**OTHER_COPIES, "model_options": SDNC},
        **dict.fromkeys(STACKS, OTHER_COPIES),
    },
    "upside-down-copy": {
        "ntm": OTHER_COPIES,
        "dnc": {**OTHER_COPIES, "model_options": DNC},
        "sam": {**OTHER_COPIES, "model_options": SAM},
        "sdnc": {**OTHER_COPIES, "model_options": SDNC},
        **dict.fromkeys(STACKS, OTHER_COPIES),
    },
    "repeat-copy": {
        # Dense layers keep the count in the memory; an LSTM counts by itself, up to the counts in training. Some
        # networks go on writing while they read, so there are slots for every step. One initialisation in three learns
        # the task within 8,000 steps and generalises; slower ones do not
        "ntm": {
            **REPEAT_COPY,
            "restart_after": 8000,
            "restart_above": 0.1,
            # Rare mistakes, one in thousands of sequences, go away as the steps become small
            "stop_below": 2e-4,
            "model_options": {"num_units": 200, "num_heads": 2, "memory_slots": 256, **IN_ORDER},
        },
        # One sequence at a time, one DNC in three stays at chance, and every SDNC does
        "dnc": {
            **REPEAT_COPY,
            "batch_size": 4,
            "max_steps": 10_000,
            "stop_below": 0.003,
            "model_options": DNC,
        },
        # Without temporal links, a SAM stays at chance unless it starts with short sequences; with one read head and
        # slots of 20 numbers it does not get beyond sequences of eight
        "sam": {
            **REPEAT_COPY,
            "batch_size": 8,
            "max_steps": 30_000,
            "curriculum": "exponential",
            "curriculum_options": {"advance_below": 1.0},
            "stop_below": 0.001,
            "model_options": {**SAM, "num_reads": 4, "memory_width": 32},
        },
        "sdnc": {
            **REPEAT_COPY,
            "batch_size": 8,
            "max_steps": 8000,
            "stop_below": 0.003,
            "model_options": SDNC,
        },
        **dict.fromkeys(STACKS, REPEAT_COPY),
    },
    "associative-recall": {
        # An LSTM can ask for an item as a whole. Dense layers see one vector of it, which another item may share
        "ntm": {**ASSOCIATIVE_RECALL, "model_options": {"controller": "lstm", **IN_ORDER}},
        "dnc": {**ASSOCIATIVE_RECALL, "model_options": DNC},
        # Items that differ in one bit are told apart late
        "sam": {
            **ASSOCIATIVE_RECALL,
            "max_steps": 20_000,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "clip_value": None,
            "clip_norm": 10.0,
            "model_options": {**SAM, "num_reads": 4, "memory_width": 32},
        },
        "sdnc": {**ASSOCIATIVE_RECALL, "model_options": SDNC},
        **dict.fromkeys(STACKS, ASSOCIATIVE_RECALL),
    },
    "dynamic-ngrams": {
        # A slot for each context, found by content from the start. In an empty memory all slots are alike
        "ntm": {
            **DYNAMIC_NGRAMS,
            "model_options": {
                "controller": "lstm",
                "memory_slots": 64,
                "memory_std": 0.5,
                "write_interpolation_bias": 3.0,
                "read_interpolation_bias": 3.0,
            },
        },
        "dnc": {**DYNAMIC_NGRAMS, "model_options": DNC},
        "sam": {**DYNAMIC_NGRAMS, "model_options": SAM},
        "sdnc": {**DYNAMIC_NGRAMS, "model_options": SDNC},
        **dict.fromkeys(STACKS, DYNAMIC_NGRAMS),
    },
    "priority-sort": {
        "ntm": {**PRIORITY_SORT, "model_options": {"num_units": 256, "num_heads": 2, **IN_ORDER}},
        "dnc": {**PRIORITY_SORT, "model_options": DNC},
        "sam": {**PRIORITY_SORT, "model_options": SAM},
        "sdnc": {**PRIORITY_SORT, "model_options": SDNC},
        **dict.fromkeys(STACKS, PRIORITY_SORT),
    },
    "sort": {
        "ntm": {
            **SORT,
            "model_options": {"controller": "lstm", "num_units": 256, "num_heads": 2, **IN_ORDER},
        },
        # Sorting reads by content, not in the order of writing
        "dnc": {**SORT, "max_steps": 40_000, "model_options": {**DNC, "forward_bias": 0.0}},
        "sam": {**SORT, "model_options": SAM},
        "sdnc": {**SORT, "model_options": SDNC},
        **dict.fromkeys(STACKS, SORT),
    },
    "dyck-words": {
        "ntm": DYCK_WORDS,
        "dnc": {**DYCK_WORDS, "model_options": DNC},
        "sam": {**DYCK_WORDS, "model_options": SAM},
        "sdnc": {**DYCK_WORDS, "model_options": SDNC},
        **dict.fromkeys(STACKS, DYCK_WORDS),
    },
    "addition": {
        "ntm": NUMBERS,
        "dnc": {**NUMBERS, "model_options": DNC},
        "sam": {**NUMBERS, "model_options": SAM},
        "sdnc": {**NUMBERS, "model_options": SDNC},
        **dict.fromkeys(STACKS, NUMBERS),
    },
    "argmax": {
        "ntm": {**NUMBERS, "model_options": {"controller": "lstm"}},
        "dnc": {**NUMBERS, "model_options": DNC},
        "sam": {**NUMBERS, "model_options": SAM},
        "sdnc": {**NUMBERS, "model_options": SDNC},
        **dict.fromkeys(STACKS, NUMBERS),
    },
    "graph-traversal": {
        "ntm": {**GRAPH_TRAVERSAL, "model_options": {**GRAPH_MEMORY, "controller": "lstm"}},
        "dnc": {**GRAPH_TRAVERSAL, "model_options": {**DNC, **GRAPH_MEMORY, "num_reads": 5}},
        "sam": {**GRAPH_TRAVERSAL, "model_options": {**SAM, **SPARSE_GRAPH_MEMORY}},
        "sdnc": {**GRAPH_TRAVERSAL, "model_options": {**SDNC, **SPARSE_GRAPH_MEMORY}},
        **dict.fromkeys(STACKS, GRAPH_TRAVERSAL),
    },
    "shortest-path": {
        "ntm": {**SHORTEST_PATH, "model_options": {**GRAPH_MEMORY, "controller": "lstm"}},
        "dnc": {**SHORTEST_PATH, "model_options": {**DNC, **GRAPH_MEMORY, "num_reads": 5}},
        "sam": {**SHORTEST_PATH, "model_options": {**SAM, **SPARSE_GRAPH_MEMORY}},
        "sdnc": {**SHORTEST_PATH, "model_options": {**SDNC, **SPARSE_GRAPH_MEMORY}},
        **dict.fromkeys(STACKS, SHORTEST_PATH),
    },
}


#: A task of the user's own
OWN: Block = {**BATCHES, "max_steps": 20_000}

OWN_TASK: dict[str, Block] = {
    "ntm": {**OWN, "model_options": IN_ORDER},
    "dnc": {**OWN, "model_options": DNC},
    "sam": {**OWN, "model_options": SAM},
    "sdnc": {**OWN, "model_options": SDNC},
    **dict.fromkeys(STACKS, OWN),
}

#: Data of the user's own
DATA: Block = {
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "clip_value": None,
    "clip_norm": 10.0,
    "rewind": False,
    "num_buckets": 4,
    "log_every": 10,
}

OWN_DATA: dict[str, Block] = {
    model: {**DATA, "model_options": block.get("model_options", {})}
    for model, block in OWN_TASK.items()
}


def get_blocks(task: str) -> dict[str, Block]:
    """Return the blocks of a task, one for each network."""
    return DEFAULTS.get(task, OWN_TASK)


def find_block(task: str, model: str, controller: str | None = None) -> Block:
    """Return the block of a task and a network, and of a controller where that has one of its own."""
    blocks = get_blocks(task)
    return blocks.get(f"{model}-{controller}", blocks[model])


def merge_settings(block: Block, given: Block) -> Block:
    """Return the settings of a block with those that are given instead.

    Dicts are merged with those of the block. The block's options of a schedule or curriculum are left out where another
    one is given.
    """
    merged: Block = copy.deepcopy(block)
    for name in ("curriculum", "schedule"):
        if given.get(name, merged.get(name)) != merged.get(name):
            merged.pop(f"{name}_options", None)
    for name, value in given.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return merged
