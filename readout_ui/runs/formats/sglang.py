"""SGLang token probes: one folder for `--probe-ckpt`, in the form of SingProbe's MLP head.

`config.json` and `model.safetensors` as inclusionAI/SingProbe writes them and SGLang's loader reads
them (sgl-project/sglang, pull request 37545). That head sees the residual stream *before* block
`base_model_layer_ids[i]`, scaled to a root mean square of 1, and gives
sigmoid(fc2(relu(fc1(states)))). So a row of `fc1` and its opposite carry one straight line through
the ReLU, and the logit of a label is the z of a token whose activation is of usual length.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.runs.manifest import Manifest
    from readout_ui.vectors.vectors import ConceptVectors

FILES = ("config.json", "model.safetensors")


def probe_files(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    """The two files by name: a label for each concept, or "concept@layer" of several layers.

    Raises:
        UserError: vectors of another layer type, of the last block, or of unknown lengths.
    """
    norms = _norms(vectors, manifest)
    weight, bias = _lines(vectors, norms)
    n_labels = len(bias)
    one = torch.eye(n_labels)
    tensors = {
        "fc1.weight": torch.cat([weight, -weight]),  # (2 n_labels, n_layers * d_model)
        "fc1.bias": torch.cat([bias, -bias]),
        "fc2.weight": torch.cat([one, -one], dim=1),  # (n_labels, 2 n_labels)
        "fc2.bias": torch.zeros(n_labels),
    }
    config = {
        "architectures": ["SingProbeMlpModel"],
        "model_type": "sing_probe_mlp",
        "hidden_size": vectors.directions.shape[2],
        "base_model_layer_ids": [layer + 1 for layer in vectors.layers],
        "intermediate_size": 2 * n_labels,
        "hidden_act": "relu",
        "num_labels": n_labels,
        "labels": _labels(vectors),
        "base_model_name": manifest.model.id,
        "torch_dtype": "float32",
    }
    raw = save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()})
    return {FILES[0]: (json.dumps(config, indent=2) + "\n").encode(), FILES[1]: raw}


def _norms(vectors: ConceptVectors, manifest: Manifest) -> Tensor:
    """(n_layers,): the usual length of an activation at each layer of the vectors."""
    if vectors.layer_type != "decoder_block":
        raise UserError(
            f"SGLang's probes see what a decoder block returns, the vectors are of "
            f"{vectors.layer_type}",
            fix="train with the layer type decoder_block",
        )
    known = manifest.residual_norms
    if not known:
        raise UserError("it is not known how long this model's activations are", fix="train again")
    if max(vectors.layers) + 1 >= len(known):
        raise UserError(
            f"nothing comes after layer {max(vectors.layers)}, where SGLang's probes would see it",
            fix="export another layer with --layers",
        )
    return torch.tensor([known[layer] for layer in vectors.layers])


def _lines(vectors: ConceptVectors, norms: Tensor) -> tuple[Tensor, Tensor]:
    """z as a line over the scaled states of all layers; every concept of the first layer first.

    Returns:
        Slopes (n_labels, n_layers * d_model), and what is added (n_labels,).
    """
    n_concepts, n_layers, d_model = vectors.directions.shape
    lengths = norms / d_model**0.5  # what one unit of a scaled state is
    mean, std = vectors.neutral_mean.float(), vectors.neutral_std.float()
    slopes = vectors.directions.float() * (lengths / std)[:, :, None]
    weight = torch.zeros(n_layers, n_concepts, n_layers, d_model)
    for place in range(n_layers):
        weight[place, :, place] = slopes[:, place]
    return weight.flatten(2).flatten(0, 1), -(mean / std).T.flatten()


def _labels(vectors: ConceptVectors) -> list[str]:
    if len(vectors.layers) == 1:
        return list(vectors.concepts)
    return [f"{concept}@{layer}" for layer in vectors.layers for concept in vectors.concepts]
