"""A sandbox provider: a real OpenAI-compatible server without a model, for those without an API key and for every test that needs a hosted API or a fault."""

from gateway.sandbox.app import Sandbox, create_sandbox
from gateway.sandbox.faults import FaultName
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.references import Reference, load
from gateway.sandbox.runner import Running, running, serve

__all__ = ["FaultName", "Reference", "Running", "Sandbox", "SandboxOptions", "create_sandbox", "load", "running", "serve"]
