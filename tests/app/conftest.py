"""What several tests of the app begin with."""

import pytest

from readout_ui.app.session import Studio


@pytest.fixture
def trained(studio: Studio) -> Studio:
    """A studio that trained once."""
    studio.load_model()
    studio.start_training().result()
    return studio
