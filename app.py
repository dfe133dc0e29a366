"""Start Readout Studio's web app; `readout-ui app` does the same."""

from readout_ui.app.start import main

if __name__ == "__main__":
    main()
