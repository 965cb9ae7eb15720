"""What all tests share: one thread in every numerical library, steady random examples, and who may run beside whom."""

import os
import signal

# Before numpy, torch and onnxruntime are imported: they read these once. Subprocesses inherit them.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

# A shell starts what it puts into the background with SIGINT ignored, and children would inherit that: here some are
# interrupted by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from hypothesis import HealthCheck, settings  # noqa: E402

# No deadlines: the machine is often busy with other things. Under CI the examples are the same in every run.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parents[1]
_BOARDS, _WORKFLOW = ROOT / "tests" / "boards", ROOT / "tests" / "workflow"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that time things run alone; those of a workflow's file run in one process, since they share a study."""
    for item in items:
        if _BOARDS in item.path.parents and not item.get_closest_marker("beside"):
            item.add_marker("alone")
        if _WORKFLOW in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
