"""A tiny random Llama with a chat template as a local folder, for tests of everything around it."""

from pathlib import Path

from tests.support.architectures import CHATML, build, tiny_tokenizer


def save_tiny_model(folder: Path) -> Path:
    """Write model and tokenizer; loading it takes milliseconds."""
    build("llama").save_pretrained(folder)
    tiny_tokenizer(CHATML).save_pretrained(folder)
    return folder
