"""What an ingestion did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dcsh_pg.errors import DcshError, InputError, PartialSuccess
from dcsh_pg.imagery.pixels.bands import bands_taken


@dataclass
class IngestReport:
    """What a run did.

    Attributes:
        scenes: scenes found in the sources.
        stored: scenes whose chips are now in the archive and were not before.
        known: scenes passed over because their content was there already.
        replaced: scenes among ``stored`` whose URI was known with other content.
        renamed: scenes among ``known`` whose file has another name now, and which have it since.
        failed: scenes that could not be read, also recorded in ``dcsh.ingest_error``.
        chips: chips stored.
        skipped: chips left out because too few of their pixels are valid.
        bands: how many of the stored scenes gave which bands, '3,2,1', to the model.
        seconds: wall time.
        failures: why, one error for each failed scene.
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

    def to_json(self) -> dict:
        """All of it as JSON can carry it, with ``errors`` for ``failures``."""
        told = vars(self) | {"seconds": round(self.seconds, 3), "errors": self.errors}
        del told["failures"]
        return told

    def summary(self) -> str:
        """One line for people."""
        parts = [
            f"{self.stored} of {self.scenes} scenes stored",
            f"{self.chips} chips",
            f"{self.skipped} chips without enough valid pixels left out" if self.skipped else "",
            f"{self.known} were there already" if self.known else "",
            f"{self.replaced} replaced by new content" if self.replaced else "",
            f"{self.renamed} renamed" if self.renamed else "",
            f"{self.failed} failed" if self.failed else "",
            bands_taken(self.bands),
            f"{self.seconds:.1f} s",
        ]
        return ", ".join(part for part in parts if part)

    def raise_for_failures(self) -> None:
        """Raises what the command line must leave with when scenes failed.

        Raises:
            InputError: every scene failed.
            PartialSuccess: some did.
        """
        if not self.failed:
            return
        if self.failed == self.scenes:
            first = self.failures[0]
            many = f"none of {self.scenes} scenes could be ingested; the first: "
            raise InputError((many if self.scenes > 1 else "") + first.message, hint=first.hint)
        raise PartialSuccess(
            f"{self.failed} of {self.scenes} scenes failed, the rest is stored",
            hint="'dcsh-pg archive errors ARCHIVE' lists them; mend them and run the same command again",
        )
