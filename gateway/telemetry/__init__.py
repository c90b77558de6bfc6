"""OpenTelemetry traces: made from settled rows in the controller, never on the way of a request."""
