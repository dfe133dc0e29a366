"""The README of an export: what the vectors are, how they were made, and their limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from readout_ui.errors import UserError
from readout_ui.models.packed import BUNDLED
from readout_ui.runs.manifest import Manifest

CARD_FILE = "README.md"
SCALES = ("norm", "unit")
_METHODS = {
    "whitened": "difference of means, whitened by the spread of the texts and of neutral tokens",
    "neutral_pcs": "difference of means without the first components of neutral tokens",
    "mean": "difference of means",
    "pca": "first principal component of pair differences",
    "logistic": "logistic regression",
}


DOSE = 0.3
"""Of the residual stream's mean length: what one unit of a vector adds in all, shared among its
layers. Found by `bench.steering` on the bundled model."""


@dataclass(frozen=True)
class Push:
    """What one unit of vectors to steer with adds at every layer."""

    scale: str = "unit"
    """"norm" where 1.0 is one dose."""
    norms: Mapping[int, float] = field(default_factory=dict)
    """Mean length of the residual stream by layer; empty where it is not known."""
    doses: Mapping[int, float] = field(default_factory=dict)
    """By layer, what unit vectors are multiplied by; empty where they stay as they are."""

    @classmethod
    def of(cls, manifest: Manifest, layers: Sequence[int], scale: str) -> Push:
        """The usual or the asked for scale of vectors at these layers.

        Raises:
            UserError: there is no such scale, or the lengths of the residual stream are not known.
        """
        if scale not in ("", *SCALES):
            raise UserError(f"unknown scale {scale!r}", options=SCALES)
        told = manifest.push  # of a file of directions alone, which stay as they are
        norms = {i: norm for i, norm in enumerate(manifest.residual_norms) if i in layers}
        norms |= {int(i): norm for i, norm in told.get("residual_norms", {}).items()}
        if scale == "norm" and not norms:
            raise UserError(
                "the length of the residual stream is not known, so nothing can be scaled by it",
                fix="train again, or export with the scale unit",
            )
        chosen = scale or told.get("scale") or ("norm" if norms else "unit")
        if chosen == "unit" or not (scale or manifest.calibrated):
            return cls(chosen, norms)
        return cls(chosen, norms, {i: DOSE * norm / len(layers) for i, norm in norms.items()})

    @property
    def stated(self) -> dict[str, Any]:
        """Scale, dose and lengths, as an index of vectors states them."""
        if not self.norms:
            return {}
        dose = {"dose": DOSE} if self.scale == "norm" else {}
        norms = {str(i): norm for i, norm in self.norms.items()}
        return {"scale": self.scale, **dose, "residual_norms": norms}


def model_card(manifest: Manifest, form: str = "readout", push: Push | None = None) -> str:
    """The card as Markdown; the same manifest gives the same text.

    Args:
        manifest: what the files hold and where it is from.
        form: the format of the files.
        push: what one unit of them adds, where they are to steer with.
    """
    metrics, read = manifest.metrics, manifest.read
    concepts = ", ".join(f"`{_plain(name)}`" for name in manifest.concepts)
    method = _METHODS.get(manifest.method, manifest.method)
    revision = (
        f" at revision `{_plain(manifest.model.revision)}`" if manifest.model.revision else ""
    )
    return f"""---
library_name: readout-ui
{_base_model(manifest)}tags:
- readout-ui
- concept-vectors
- interpretability
- steering
---

# Concept directions for {_plain(manifest.model.id)}

{len(manifest.concepts)} directions in the residual stream, at {_layers(manifest)}: {concepts}.

## Method
- Model: `{_plain(manifest.model.id)}`{revision}, weights
  `{manifest.model.fingerprint}`, read in {manifest.model.dtype or "an unknown number type"} at
  `{_plain(read.module_path)}` ({read.layer_type}).
- Texts: {metrics.n_texts} {_texts(manifest)}, framed as
  {_plain(manifest.frame.description)}; their hashes are in the manifest{_quoted(manifest)}.
- Read rule `{read.rule}`, method `{manifest.method}` ({method}), seed {manifest.seed}; every
  direction has unit length. {_instead(manifest)}{manifest.read.layers}.
- z-scores compare with {_plain(manifest.calibration.on)}.

{_how_to_steer(manifest, form, push) if push else ""}{_SGLANG if form == "sglang" else ""}## Scores
{_scores(manifest)}

These scores come from the descriptions themselves, by the same writer. How well the directions
read text by others has to be judged on such text: `readout-ui evaluate --vectors DIR --texts FILE`
prints it beside bag of words, random directions and permuted labels.

## Intended use
Reading which of these concepts a text activates in this model, token by token, and steering with
them, in research on this model. Scores are comparable between concepts as z or cosine only.

## Limits
- A direction shows what separates these texts in this model. It is no evidence that the model, or a
  person who writes, feels or intends anything; do not judge people by it.
- The directions belong to these weights, this prompt frame and this read rule. Check a server with
  `readout-ui verify DIR`.
- The first token and the tokens of the chat template carry large activations and are not
  comparable.
"""


def _how_to_steer(manifest: Manifest, form: str, push: Push) -> str:
    """How the vectors are loaded and how strong they are."""
    concept, layers = manifest.concepts[0], tuple(push.norms) or manifest.layers
    first, last = min(layers), max(layers)
    strength = (
        f"1.0 is one dose: {DOSE:g} of the residual stream's mean length, shared among the "
        "layers. Begin there; at twice as much answers break down as a rule."
        if push.scale == "norm"
        else "The vectors have unit length, far shorter than the residual stream: multiply by a "
        f"part of its length, about {DOSE:g} in all."
    )
    loading = {
        "gguf": _GGUF.format(concept=_plain(concept), first=first, last=last),
        "steering": _STEERING.format(concept=json.dumps(_plain(concept))),
        "steering-pkl": "Each `.pkl` is a pickled `steering_vectors.SteeringVector`.\n",
    }[form]
    lengths = "".join(f"| {i} | {norm:.4g} |\n" for i, norm in push.norms.items())
    table = f"\n| layer | mean length of the residual stream |\n|---|---|\n{lengths}"
    return f"## Steering\n{strength}\n\n{loading}{table if push.norms else ''}\n"


_SGLANG = """## Serve with SGLang
`python -m sglang.launch_server --model-path MODEL --probe-ckpt DIR`, with a SGLang that has token
probes for the model. `meta_info["token_probe_probs"]` of an answer then has a probability p for
each token and label; log(p / (1 - p)) is the z of a token whose activation has the usual length,
because probes see activations scaled to one length.

"""
_GGUF = """Each file holds `direction.<i>` (float32), added to the output of block i, from 0:

```sh
llama-cli -m MODEL.gguf --control-vector-scaled {concept}.gguf 1.0 \\
  --control-vector-layer-range {first} {last}
```
"""
_STEERING = """`steering_vectors.safetensors` holds `<row>.layer_<i>` (d_model,), float32, the rows
in the order of `concepts` in `steering_vectors.json`:

```python
import json
from safetensors.torch import load_file
from steering_vectors import SteeringVector

index = json.load(open("steering_vectors.json"))
tensors = load_file("steering_vectors.safetensors")
row = index["concepts"].index({concept})
layers = {{i: tensors[f"{{row}}.layer_{{i}}"] for i in index["layers"]}}
vector = SteeringVector(layers, index["layer_type"])
with vector.apply(model, multiplier=1.0):
    ...  # model.generate(...)
```
"""


def _texts(manifest: Manifest) -> str:
    source = manifest.source
    return (
        f"texts ({_plain(source)}, neutral texts)"
        if source
        else "first-person descriptions and neutral texts"
    )


def _instead(manifest: Manifest) -> str:
    """What the method did where it lacked something, as a sentence with a space behind."""
    return f"{_plain(str(manifest.fit['instead']))} " if "instead" in manifest.fit else ""


def _quoted(manifest: Manifest) -> str:
    """Whoever passes the files on should know that some texts are in them."""
    n = len(manifest.probes.texts) if manifest.probes else 0
    return f", which quotes {n} of them as probes" if n else ""


def _base_model(manifest: Manifest) -> str:
    """The header's line for the model; none for a local folder, which the hub would refuse."""
    model = manifest.model
    name = f"HuggingFaceTB/{BUNDLED}" if model.id == BUNDLED else model.id
    on_the_hub = bool(model.revision) or name != model.id
    sound = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name, re.ASCII)
    return f"base_model: {_yaml(name)}\n" if on_the_hub and sound else ""


def _scores(manifest: Manifest) -> str:
    metrics = manifest.metrics
    scores = metrics.layer_scores
    best = None if scores is None else scores[metrics.best_layer]
    if best is None:
        return "There were too few texts to score held-out ones."
    return (
        "| | AUROC, one concept against the rest |\n|---|---|\n"
        f"| layer {metrics.best_layer}, held-out descriptions, mean over concepts | {best:.3f} |\n"
        "| chance | 0.500 |"
    )


def _layers(manifest: Manifest) -> str:
    layers = manifest.layers
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if len(layers) > 6:
        return f"{len(layers)} layers ({min(layers)} to {max(layers)})"
    return f"layers {', '.join(map(str, layers))}"


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return " ".join(text.split()).replace("`", "'").replace("<", "‹").replace(">", "›")


def _yaml(text: str) -> str:
    return '"' + _plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
