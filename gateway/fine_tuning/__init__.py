"""OpenAI's fine-tuning API over local training: the API, and the controller's half that runs the jobs."""
