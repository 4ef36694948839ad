"""What each incident has for itself in the sandbox, and what all of them share."""

import warnings

from temporalio import workflow
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import SandboxImportNotificationPolicy as Policy

from workers.sandbox import PASSED_THROUGH, runner
from workflows.incident import IncidentWorkflow


async def test_only_workflow_modules_are_loaded_anew_for_each_incident() -> None:
    """Anything else would cost every incident its milliseconds, and have a state nobody expects."""
    telling = runner().restrictions.with_import_notification_policy(Policy.WARN_ON_UNINTENTIONAL_PASSTHROUGH)
    definition = workflow._Definition.must_from_class(IncidentWorkflow)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        SandboxedWorkflowRunner(restrictions=telling).prepare_workflow(definition)
    loaded_anew = [str(warning.message).split()[1] for warning in said]
    assert "workflows.pages" in loaded_anew
    assert [name for name in loaded_anew if not name.startswith("workflows.")] == []


def test_no_workflow_module_is_shared() -> None:
    assert not [name for name in PASSED_THROUGH if name.split(".")[0] == "workflows"]
