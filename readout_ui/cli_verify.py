"""What `readout-ui verify` does: read the probe texts again, and certify or refuse."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.terminal import progress_report

if TYPE_CHECKING:
    from readout_ui.models import ModelSpec
    from readout_ui.verify import Certificate


def verify_export(source: Path, spec: ModelSpec) -> Certificate:
    """Check an export, folder or zip, on a model.

    Raises:
        UserError: the export is damaged, holds no probe texts or belongs to another model.
    """
    with progress_report() as report:
        from readout_ui.models import load_model
        from readout_ui.vector_files import read_readout
        from readout_ui.verify import verify

        loaded = read_readout(source)
        return verify(loaded, load_model(spec, report), report)


def certificate_json(certificate: Certificate) -> str:
    """The comparison as one JSON object."""
    return json.dumps({**asdict(certificate), "certified": certificate.certified}, indent=2)
