"""Start Readout Studio's web app: parse flags, build the page, launch it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from readout_ui.errors import UserError, missing_import
from readout_ui.files import scratch_folder
from readout_ui.inference.gate import (
    EVERYWHERE,
    Hosts,
    allowed_hosts,
    keep_off_proxies,
    listening,
    refuse_open,
    serve_until_stopped,
)
from readout_ui.progress import write_anything
from readout_ui.texts.shipped import home, library_named, provide_descriptions

if TYPE_CHECKING:
    from readout_ui.app.session import Studio
    from readout_ui.app.status import StudioOptions
    from readout_ui.progress import Report

# Read by gradio while it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

PAGE_FIRST = 1.5
"""Seconds in which the first page is served before torch is imported, which holds everything up."""


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
    parser.add_argument(
        "--descriptions",
        type=Path,
        default=home() / "descriptions",
        help="folder of {concept}.txt, or shipped:stances for a copy of that library to edit",
    )
    parser.add_argument(
        "--runs", type=Path, default=home() / "runs", help="folder runs are kept in"
    )
    parser.add_argument(
        "--draft-endpoint",
        metavar="URL",
        default="",
        help="OpenAI-compatible server that may draft texts; its key: OPENAI_API_KEY",
    )
    parser.add_argument("--draft-model", default="", help="its name there; default: the first")
    parser.add_argument(
        "--server",
        metavar="URL",
        default="",
        help="read through a server of a model with vectors (readout-ui serve, or vLLM with our "
        "plugin) instead of loading one; its key: READOUT_SERVER_KEY",
    )
    parser.add_argument("--read-only", action="store_true", help="refuse everything that writes")
    parser.add_argument(
        "--no-report", action="store_true", help="do not judge every training by itself"
    )
    parser.add_argument(
        "--mcp", action="store_true", help="also serve the named endpoints as MCP tools"
    )
    _add_access(parser)
    return parser.parse_args(arguments)


def _add_access(parser: argparse.ArgumentParser) -> None:
    """Who reaches the app, and how they say who they are."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="a name this machine is reached under, such as behind a proxy; may be given again",
    )
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help="ask for this login; other users of this machine see it in the list of processes",
    )
    parser.add_argument(
        "--auth-file",
        type=Path,
        metavar="FILE",
        help="ask for the login in this file; READOUT_AUTH in the environment does the same",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="let every machine in that reaches --host, without login",
    )


def read_access(flags: argparse.Namespace) -> tuple[Hosts, tuple[str, str] | None]:
    """The names the app is served under, and its login where it has one.

    Raises:
        UserError: a login or a host that is none; other machines are let in by mistake; or a login
            with --mcp, since the tools' server cannot log in.
    """
    from readout_ui.app.login import read_login

    login = read_login(flags.auth, flags.auth_file, os.environ)
    hosts = Hosts(flags.host.lower(), allowed_hosts(flags.allowed_host))
    how = "set READOUT_AUTH=user:password or --auth-file FILE"
    refuse_open(flags.host, login is not None, flags.open, how)
    if flags.mcp and login is not None:
        raise UserError(
            "MCP tools know no login", where="--mcp", fix="leave out the login or --mcp"
        )
    return hosts, login


def own_address(host: str, port: int) -> str:
    """How this process reaches itself."""
    name = "localhost" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def serve(flags: argparse.Namespace) -> None:
    """Build the app, start loading the model in the background, and serve until Ctrl+C."""
    keep_off_proxies(flags.host)
    library = library_named(flags.descriptions)
    if library or flags.descriptions == home() / "descriptions":
        flags.descriptions = provide_descriptions(library or "emotions")
    hosts, login = read_access(flags)
    os.environ.setdefault("GRADIO_TEMP_DIR", str(scratch_folder() / "uploads"))
    with listening(flags.host, flags.port) as listener:
        _import_gradio(with_tools=flags.mcp)
        from readout_ui.app.page import build_site
        from readout_ui.app.session import Studio
        from readout_ui.app.status import StudioOptions

        options = StudioOptions(
            descriptions=flags.descriptions,
            runs=flags.runs,
            model=flags.model,
            revision=flags.revision,
            device=flags.device,
            dtype=flags.dtype,
            quantization=flags.quantization,
            trust_remote_code=flags.trust_remote_code,
            tokenizer=flags.tokenizer,
            draft_endpoint=flags.draft_endpoint,
            draft_model=flags.draft_model,
            read_only=flags.read_only,
            report=not flags.no_report,
        )
        address = own_address(flags.host, flags.port)
        studio = _served(options, flags.server) if flags.server else Studio(options)
        try:
            site = build_site(studio, hosts, login, address if flags.mcp else "")
            studio.worker.submit(
                "start", "Serving the page", lambda _report: time.sleep(PAGE_FIRST)
            )
            studio.load_model()
            print(f"Readout Studio is served on {address} (Ctrl+C stops it)", flush=True)
            serve_until_stopped(site, listener)
        finally:
            studio.close()


def _serve_page_first(_report: Report) -> None:
    time.sleep(PAGE_FIRST)


def _import_gradio(with_tools: bool) -> None:
    """Gradio, without what it takes of `mcp` for --mcp alone, and without its stub files."""
    hidden = not with_tools and "mcp" not in sys.modules
    if hidden:
        sys.modules["mcp"] = None  # type: ignore[assignment] # as where it is not installed
    finder = _WithoutStubs()
    sys.meta_path.insert(0, finder)
    try:
        import gradio  # noqa: F401
    finally:
        sys.meta_path.remove(finder)
        if hidden:
            del sys.modules["mcp"]


class _WithoutStubs(MetaPathFinder):
    """Keeps gradio from writing anew, at each import, what editors read: half of its import."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "gradio.component_meta" else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_without(module: ModuleType) -> None:
                run(module)
                module.create_or_modify_pyi = write_no_stub  # type: ignore[attr-defined]

            spec.loader.exec_module = run_without  # type: ignore[method-assign]
        return spec


def write_no_stub(*_about: object) -> None:
    """What gradio calls for each component instead of writing its stub file."""


def _served(options: StudioOptions, url: str) -> Studio:
    from readout_ui.app.served import ServedStudio
    from readout_ui.inference.client import Server

    return ServedStudio(options, Server.at(url, os.environ.get("READOUT_SERVER_KEY", "")))


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run the app; a mistake in the flags ends in one sentence and exit code 2."""
    write_anything()
    flags = parse_flags(arguments, program)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the end is a clean one
    try:
        serve(flags)
    except KeyboardInterrupt:
        pass
    except (UserError, ImportError) as error:
        print(missing_import(error) if isinstance(error, ImportError) else error, file=sys.stderr)
        sys.exit(2)
