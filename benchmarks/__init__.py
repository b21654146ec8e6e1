"""Benchmarks: ``python -m benchmarks NAME`` from the repository's root.

Every benchmark times its contestants in one process, interleaved, and only after asserting that their results are equal.
"""
