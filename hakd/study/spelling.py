"""Remedies as they have to be typed: `hakd pin` with the file that a device stands in, and from the right folder."""

import os
import re

from hakd.records.errors import HakdError

BEFORE, AFTER = "HAKD_TYPED_BEFORE", "HAKD_TYPED_AFTER"  # set by `hakd.study.files.note_start`


def respell(error: HakdError, name: str, spelled: str, before: str = "") -> HakdError:
    """The same error with a remedy that can be copied."""
    remedy = respelled(error.remedy or "", name, spelled, before) or None
    return HakdError(error.problem, where=error.where, key=error.key, remedy=remedy)


def respelled(text: str, name: str, spelled: str, before: str = "") -> str:
    """`hakd pin NAME` as it has to be typed: the device as `spelled`, after the command `before`."""
    typed = f"`{before}hakd pin {spelled}"
    return re.sub(rf"`hakd pin {re.escape(name)}(?![\w.-])", lambda match: typed, text)


def respell_in_study(error: HakdError) -> HakdError:
    """The same for a job of a study, whose folder and configuration files are not those that `hakd` would take."""
    name = str(error.where).removeprefix("device ")
    return respell(error, name, name + os.environ.get(AFTER, ""), os.environ.get(BEFORE, ""))
