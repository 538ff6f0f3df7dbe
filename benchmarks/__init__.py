"""What is timed, against what.

`python -m benchmarks [subject ...]` prints one table for each subject.
"""
