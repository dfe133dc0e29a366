"""The frame of texts that each answer a prompt of their own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from readout_ui.frames import FramedText, PromptFrame, frame_for

if TYPE_CHECKING:
    from readout_ui.models import LoadedModel


@dataclass(frozen=True, eq=False)
class PromptedFrame(PromptFrame):
    """A frame for texts that `prompted` made: each has its own prompt as the user's turn."""

    def frame(self, text: str, max_length: int) -> FramedText:
        """Put the answer after its prompt; only the answer counts as content.

        Raises:
            UserError: the answer is empty or has no tokens.
        """
        prompt, answer = unprompted(text)
        return frame_for(self.tokenizer, prompt).frame(answer, max_length)


def prompted(prompt: str, answer: str) -> str:
    """Prompt and answer as one text, by which its activations are cached."""
    return json.dumps([prompt, answer], ensure_ascii=False)


def unprompted(text: str) -> tuple[str, str]:
    """Prompt and answer of a text that `prompted` made."""
    prompt, answer = json.loads(text)
    return str(prompt), str(answer)


def with_prompts(model: LoadedModel) -> LoadedModel:
    """The same model, reading texts that `prompted` made."""
    frame = model.frame
    parts = {field.name: getattr(frame, field.name) for field in fields(PromptFrame)}
    identity = f"a prompt for each text\0{frame.fingerprint}"
    parts["fingerprint"] = hashlib.sha256(identity.encode()).hexdigest()
    return replace(model, frame=PromptedFrame(**parts))
