"""The simulator: the gateway's own policy, and others, on a trace in virtual time. Pure like the rest of the room; randomness is a function of seed and key.

trace.py      what arrives             world.py     the event loop: arrivals, calls, failovers, outcomes
engine.py     vLLM, step by step       policies.py  what is compared: our policy and the baselines
hosted.py     a provider with faults   oracle.py    what nobody can beat, and what a clairvoyant reaches
scenarios.py  outages, bursts, …       compare.py   policies side by side, with intervals
"""
