"""GET /v1/readout/manifest: what the served vectors are.

vLLM loads it only when VLLM_PLUGINS names `readout`.
"""

from __future__ import annotations

from typing import Any

from readout_vllm.loaded import export_of
from readout_vllm.settings import from_environment


class ReadoutEndpoint:
    """vLLM's endpoint plugin."""

    name = "readout"
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        """Add the route."""
        from fastapi.responses import JSONResponse

        def manifest() -> Any:
            settings = from_environment()
            if settings is None:
                message = "no vectors are loaded; set VLLM_READOUT_VECTORS and start again"
                return JSONResponse({"error": {"message": message, "code": 404}}, status_code=404)
            return JSONResponse(export_of(settings).manifest)

        app.add_api_route("/v1/readout/manifest", manifest, methods=["GET"])

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Nothing to prepare."""
