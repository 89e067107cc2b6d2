"""Finds out which mistake a wrong port makes: in its data, layers, loss, gradients or training."""

from lenet.diagnose.diagnosis import Verdict, diagnose
from lenet.diagnose.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "Verdict", "diagnose"]
