"""Value classes that travel through the package: a mask, and what is known, suspected and found in one image."""

from .candidates import Candidates
from .detections import Detections
from .probability_map import ProbabilityMap
from .record import Record
from .rle import Rle
from .settings import ProposalSettings, TestSettings

__all__ = ["Candidates", "Detections", "ProbabilityMap", "ProposalSettings", "Record", "Rle", "TestSettings"]
