"""What `readout-ui check` does: every finding about a folder of descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from readout_ui.descriptions import Library, read_library
from readout_ui.lint import Finding, check_library
from readout_ui.terminal import as_json


@dataclass(frozen=True)
class CheckReport:
    """A folder of descriptions and what could be better in it."""

    library: Library
    findings: tuple[Finding, ...]

    @property
    def n_errors(self) -> int:
        """How many findings keep the texts from being trained, or spoil it."""
        return self.count("error")

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def check_folder(folder: Path) -> CheckReport:
    """Read the folder and check every text; files that cannot be read are findings too."""
    library = read_library(folder)
    return CheckReport(library, check_library(library))


def report_text(report: CheckReport) -> str:
    """One line per finding and one for the whole."""
    n_texts = sum(len(concept.descriptions) for concept in report.library.concepts)
    counts = ", ".join(
        f"{report.count(severity)} {severity}s" for severity in ("error", "warning", "hint")
    )
    total = f"{len(report.library.concepts)} concepts, {n_texts} descriptions: {counts}"
    return "\n".join([*(finding_line(finding) for finding in report.findings), total])


def finding_line(finding: Finding) -> str:
    """Where, how bad, what, and what to do."""
    where = finding.concept or "library"
    place = where if finding.index is None else f"{where} {finding.index + 1}"
    return f"{place}: {finding.severity}: {finding.message} {finding.suggestion} [{finding.rule}]"


def report_json(report: CheckReport) -> str:
    """Everything as one JSON object; `description` counts from 1 as the text does."""
    findings = [
        {
            "concept": finding.concept,
            "description": None if finding.index is None else finding.index + 1,
            "rule": finding.rule,
            "severity": finding.severity,
            "message": finding.message,
            "suggestion": finding.suggestion,
        }
        for finding in report.findings
    ]
    return as_json({"concepts": len(report.library.concepts), "findings": findings})
