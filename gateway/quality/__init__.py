"""The loop of quality evidence: what clients say (feedback.py), what shadow calls show (shadow.py, agreement.py), what follows (gather.py, duty.py)."""
