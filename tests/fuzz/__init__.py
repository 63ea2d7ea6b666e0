"""Coverage-guided fuzzing of every deployed parser that sees foreign bytes: `make fuzz`.

targets.py says what a target is; by_callers.py, by_graph.py and by_others.py have them.
tests/test_fuzz.py tries each of them for a moment, without atheris.
"""
