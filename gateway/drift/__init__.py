"""Drift of traffic and answers: numbers of single requests, counts of many, the duty that looks at them and acts."""
