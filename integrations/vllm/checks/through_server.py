"""Read texts and continue a chat as `readout-ui app --server URL` does, whose model is in vLLM.

Run with the project's own Python, which has the app:
`python through_server.py URL MODEL RUNS OUTPUT`, where the folder MODEL has the tokenizer.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from readout_ui.app.served import ServedStudio
from readout_ui.app.status import StudioOptions
from readout_ui.inference.client import Server
from readout_ui.inference.readout import Begun
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.progress import silent

TEXT = "I am calm, the sea is calm. Größe 🙂!"
CHAT = (Turn("system", "Be kind."), Turn("user", "Are you afraid?"))
CONTENTS: dict[str, Any] = {"assistant": TEXT, "user": TEXT, "raw": TEXT, "chat": CHAT}


def main(url: str, model: str, runs: Path, output: Path) -> None:
    """Token ids, raw scores and z of every text, and of an answer that grows in vLLM."""
    options = StudioOptions(Path("descriptions"), runs, model=model)
    studio = ServedStudio(options, Server.at(url))
    studio.load_model().result()
    readout = studio.readout_of(studio.run(), silent)
    found = {}
    for mode, content in CONTENTS.items():
        reading = studio.read(content, mode)
        found[mode] = (list(readout._framed(content, mode).token_ids), reading.raw, reading.z)
    heard: list[int] = []
    prompt = readout.model.frame.frame_chat(CHAT, True)
    sampling = Sampling(temperature=0, max_new_tokens=9)
    made = readout.grow(Begun(prompt, sampling, on_text=lambda live: heard.append(live.n_tokens)))
    assert made.reading is not None
    assert heard[0] < heard[-1] == len(made.token_ids), "the answer did not grow"
    ids = [*prompt.token_ids, *made.token_ids]
    found["answer"] = (ids, made.reading.raw, made.reading.z)
    output.write_bytes(pickle.dumps(found))
    studio.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
