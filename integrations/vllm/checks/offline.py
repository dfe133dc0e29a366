"""One engine in one process: concurrent requests, twice, so that the second finds a warm cache.

`python offline.py FOLDER OUTPUT [ENGINE ARGUMENTS AS JSON]` writes what each request got.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams
from vllm.v1.core.sched.scheduler import Scheduler

TEXTS = (
    "How do you feel right now?",
    "I just lost my job and I do not know how to tell my family. " * 4 + "What should I do?",
    "Tell me a joke.",
    "My daughter was born this morning! " * 8 + "Write a poem about it.",
    "Describe the sea at night.",
    "I am angry that they do not listen to me. " * 10 + "How do I stay calm?",
)
SILENT = 2
"""The neighbour that asks for nothing."""


def asks() -> list[SamplingParams]:
    """Answers of different lengths; every second request wants its prompt's rows too."""
    made = []
    for place in range(len(TEXTS)):
        extra: dict[str, Any] = {"readout": 1, "readout_prompt": place % 2}
        made.append(
            SamplingParams(
                n=2 if place == 0 else 1,
                seed=place,
                max_tokens=6 + 4 * place,
                temperature=0.7 if place == 0 else 0,
                extra_args=None if place == SILENT else extra,
            )
        )
    return made


def described(output: Any) -> dict[str, Any]:
    """What the comparison needs of a request's output."""
    return {
        "prompt": list(output.prompt_token_ids),
        "cached": output.num_cached_tokens,
        "answers": [
            {"new": list(one.token_ids), "rows": one.readout, "of_prompt": one.readout_prompt}
            for one in output.outputs
        ],
    }


def counted_preemptions() -> list[str]:
    """Requests that are preempted from here on, where the scheduler is in this process."""
    preempt, seen = Scheduler._preempt_request, []

    def counted(scheduler: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(request.request_id)
        return preempt(scheduler, request, *args, **kwargs)

    Scheduler._preempt_request = counted
    return seen


def main(folder: Path, output: Path, more: dict[str, Any]) -> None:
    """Run all requests twice."""
    arguments: dict[str, Any] = {
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 512,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "block_size": 32,
        "disable_log_stats": True,
        "seed": 0,
    }
    preempted = counted_preemptions()
    llm = LLM(str(folder / "model"), **(arguments | more))
    chats = [[{"role": "user", "content": text}] for text in TEXTS]
    runs = [[described(one) for one in llm.chat(chats, asks(), use_tqdm=False)] for _ in range(2)]
    output.write_bytes(pickle.dumps((*runs, len(preempted))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads((sys.argv[3:] or ["{}"])[0]))
