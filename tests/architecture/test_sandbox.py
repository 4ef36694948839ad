"""What each incident has for itself in the sandbox, and what all of them share."""

import ast
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workers.sandbox import PASSED_THROUGH, runner
from workflows.incident import IncidentWorkflow

ROOT = Path(__file__).resolve().parents[2]
INCIDENT = workflow._Definition.must_from_class(IncidentWorkflow)


async def test_whatever_a_workflow_imports_is_shared_or_refused() -> None:
    """Anything loaded anew would cost every incident its milliseconds, and have a state nobody expects."""
    runner().prepare_workflow(INCIDENT)


async def test_a_module_nobody_passed_through_is_refused() -> None:
    policy = runner().restrictions.import_notification_policy
    strict = SandboxRestrictions.default.with_import_notification_policy(policy)
    with pytest.raises(Exception, match="was not intentionally passed through"):
        SandboxedWorkflowRunner(restrictions=strict).prepare_workflow(INCIDENT)


def test_no_module_that_defines_a_workflow_is_shared() -> None:
    for name in PASSED_THROUGH:
        if name.startswith("workflows"):
            source = (ROOT / f"{name.replace('.', '/')}.py").read_text()
            decorators = [d for node in ast.walk(ast.parse(source)) for d in getattr(node, "decorator_list", [])]
            assert not [d for d in decorators if "workflow.defn" in ast.unparse(d)]
