"""`/v1/responses`: native where the backend has it, translated to chat and back where it has not."""
