"""The result of an ingestion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dcsh_pg.errors import DcshError, InputError, PartialSuccess
from dcsh_pg.imagery.pixels.bands import bands_taken


@dataclass
class IngestReport:
    """The result of an ingestion.

    Attributes:
        scenes: scenes found in the sources.
        stored: scenes whose chips were added to the archive.
        known: scenes skipped because their content is already stored.
        replaced: scenes among ``stored`` whose URI was known with other content.
        renamed: scenes among ``known`` that got the new name of their file.
        failed: scenes that could not be read, also recorded in ``dcsh.ingest_error``.
        chips: chips stored.
        skipped: chips left out because too few of their pixels are valid.
        bands: number of stored scenes by the bands, '3,2,1', that the model got.
        seconds: wall time.
        failures: one error for each failed scene.
    """

    scenes: int = 0
    stored: int = 0
    known: int = 0
    replaced: int = 0
    renamed: int = 0
    failed: int = 0
    chips: int = 0
    skipped: int = 0
    bands: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[DcshError] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """One line for each failed scene."""
        return [f"{e.message} ({e.hint})" if e.hint else e.message for e in self.failures]

    def to_json(self) -> dict[str, Any]:
        """The report for JSON, with ``errors`` for ``failures``."""
        fields = vars(self) | {"seconds": round(self.seconds, 3), "errors": self.errors}
        del fields["failures"]
        return fields

    def summary(self) -> str:
        """One line for people."""
        if self.scenes and self.known == self.scenes and not self.renamed:
            scenes = "the scene is" if self.scenes == 1 else f"all {self.scenes} scenes are"
            return f"nothing new: {scenes} already stored"
        parts = [
            f"{self.stored} of {self.scenes} scenes stored",
            f"{self.chips} chips",
            f"{self.skipped} chips without enough valid pixels left out" if self.skipped else "",
            f"{self.known} already stored" if self.known else "",
            f"{self.replaced} replaced by new content" if self.replaced else "",
            f"{self.renamed} renamed" if self.renamed else "",
            f"{self.failed} failed" if self.failed else "",
            bands_taken(self.bands),
            f"{self.seconds:.1f} s",
        ]
        return ", ".join(part for part in parts if part)

    def raise_for_failures(self) -> None:
        """Raises the error of a command in which scenes failed.

        Raises:
            InputError: every scene failed.
            PartialSuccess: some failed.
        """
        if not self.failed:
            return
        if self.failed == self.scenes:
            first = self.failures[0]
            many = f"none of {self.scenes} scenes could be ingested; the first: "
            raise InputError((many if self.scenes > 1 else "") + first.message, hint=first.hint)
        raise PartialSuccess(
            f"{self.failed} of {self.scenes} scenes failed; the others are stored",
            hint="'dcsh-pg archive errors ARCHIVE' lists them; fix them, then rerun the command",
        )
