"""`hakd doctor`: checks whether a device is fit for measuring, and says what to do where it is not."""

from hakd.doctor.examine import examine, examine_all
from hakd.doctor.findings import Finding, Report

__all__ = ["Finding", "Report", "examine", "examine_all"]
