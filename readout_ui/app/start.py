"""Start Readout Studio's web app: parse flags, build the page, launch it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError, missing_import
from readout_ui.texts.shipped import home, library_named, provide_descriptions

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read by gradio while it is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def parse_flags(
    arguments: Sequence[str] | None = None, program: str | None = None
) -> argparse.Namespace:
    """Read the command line; `program` is what the help calls it."""
    parser = argparse.ArgumentParser(program, description=__doc__)
    parser.add_argument("--model", default="", help="hub id, folder or .gguf; default: bundled")
    parser.add_argument("--tokenizer", default="", help="another tokenizer: hub id or folder")
    parser.add_argument("--revision", help="branch, tag or commit of the model on the hub")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--dtype", default="auto", choices=["auto", "bf16", "fp16", "fp32"])
    parser.add_argument("--quantization", default="none", choices=["none", "8bit", "4bit"])
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this login")
    parser.add_argument(
        "--descriptions",
        type=Path,
        default=home() / "descriptions",
        help="folder of {concept}.txt, or shipped:stances for a copy of that library to edit",
    )
    parser.add_argument(
        "--runs", type=Path, default=home() / "runs", help="folder runs are kept in"
    )
    parser.add_argument("--read-only", action="store_true", help="refuse everything that writes")
    parser.add_argument(
        "--mcp", action="store_true", help="also serve the named endpoints as MCP tools"
    )
    return parser.parse_args(arguments)


def login(auth: str | None) -> tuple[str, str] | None:
    """Split --auth into user and password."""
    if auth is None:
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise UserError("is not a login", where=f"--auth {auth!r}", fix="write user:password")
    return user, password


def program_options(flags: argparse.Namespace) -> dict[str, Any]:
    """What `launch` needs to serve programs; with --mcp the footer says how to reach the tools.

    Raises:
        UserError: --mcp and --auth, since the tools' server cannot log in.
    """
    if flags.mcp and flags.auth:
        raise UserError("MCP tools know no login", where="--mcp", fix="leave out --auth or --mcp")
    return {"mcp_server": True, "footer_links": ["api", "settings"]} if flags.mcp else {}


def warn_when_open(flags: argparse.Namespace) -> None:
    """Warn when every machine on the network could use the app."""
    if flags.host not in LOCAL_HOSTS and not flags.auth:
        print(
            f"Warning: listening on {flags.host} without --auth: everybody who reaches this "
            "machine can read and change the descriptions. Add --auth user:password.",
            file=sys.stderr,
        )


def serve(flags: argparse.Namespace) -> None:
    """Build the app, start loading the model in the background, and serve until Ctrl+C."""
    from readout_ui.app.session import Studio
    from readout_ui.app.status import StudioOptions

    library = library_named(flags.descriptions)
    if library or flags.descriptions == home() / "descriptions":
        flags.descriptions = provide_descriptions(library or "emotions")
    auth, for_programs = login(flags.auth), program_options(flags)
    warn_when_open(flags)
    studio = Studio(
        StudioOptions(
            descriptions=flags.descriptions,
            runs=flags.runs,
            model=flags.model,
            revision=flags.revision,
            device=flags.device,
            dtype=flags.dtype,
            quantization=flags.quantization,
            trust_remote_code=flags.trust_remote_code,
            tokenizer=flags.tokenizer,
            read_only=flags.read_only,
        )
    )
    from readout_ui.app.page import build_app, launch_options

    app = build_app(studio)
    try:
        app.launch(
            server_name=flags.host,
            server_port=flags.port,
            auth=auth,
            share=False,
            prevent_thread_lock=True,
            **{"mcp_server": False, **launch_options(studio), **for_programs},
        )
        if flags.mcp:
            from readout_ui.app.api_answers import answer_in_json

            answer_in_json(app)
        studio.load_model()
        app.block_thread()
    finally:
        studio.close()


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run the app; a mistake in the flags ends in one sentence and exit code 2."""
    flags = parse_flags(arguments, program)
    try:
        serve(flags)
    except (UserError, ImportError) as error:
        print(missing_import(error) if isinstance(error, ImportError) else error, file=sys.stderr)
        sys.exit(2)
