"""`breakeven simulate`: traces from files or the ledger (traces.py), the gateway's memory beside the baselines (run.py), tables and pages (report.py).

The simulator itself is router/simulation.
"""
