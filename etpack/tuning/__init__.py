"""The search for the options that suit a model and a device: a sweep over the model itself."""

from __future__ import annotations

from etpack.tuning.cost import LoadCost
from etpack.tuning.device import Device, DeviceError, read_values
from etpack.tuning.report import LEAST_GAIN, Goal, SampleReport, Trial, TuneReport, option_words
from etpack.tuning.sweep import SAMPLE_SIZE, TIE, tune

__all__ = [
    "Device",
    "DeviceError",
    "Goal",
    "LEAST_GAIN",
    "LoadCost",
    "SAMPLE_SIZE",
    "SampleReport",
    "TIE",
    "Trial",
    "TuneReport",
    "option_words",
    "read_values",
    "tune",
]
