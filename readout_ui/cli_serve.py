"""What `readout-ui serve` does: load a model and vectors, then answer OpenAI-style requests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.terminal import progress_report

if TYPE_CHECKING:
    from readout_ui.models import ModelSpec

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def serve(source: Path | None, spec: ModelSpec, host: str, port: int) -> None:
    """Serve until Ctrl+C.

    Raises:
        UserError: the model cannot be loaded, or the vectors do not belong to it.
    """
    with progress_report() as report:
        import uvicorn

        from readout_ui.artifacts import refuse_unfit_model
        from readout_ui.models import load_model
        from readout_ui.serving import Service, build_server
        from readout_ui.vector_files import read_readout

        model = load_model(spec, report)
        readout = read_readout(source) if source else None
        if readout is not None:
            refuse_unfit_model(readout.manifest, model, str(source))
    if host not in LOCAL_HOSTS:
        print(f"Warning: everybody who reaches {host} can use the model.", file=sys.stderr)
    what = f"{len(readout.manifest.concepts)} concepts" if readout else "no vectors"
    print(f"Serving {model.name} with {what} on http://{host}:{port}/v1", file=sys.stderr)
    uvicorn.run(build_server(Service(model, readout)), host=host, port=port, log_level="warning")
