"""`breakeven bench`: what the gateway costs on this machine, measured beside a bare upstream and, where they are installed, beside nginx and LiteLLM.

The upstream and the load generator are processes of their own (`python -m gateway.bench.upstream`, `python -m gateway.bench.load`), pinned away from what is
measured.
"""
