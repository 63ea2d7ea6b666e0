"""Coverage-guided fuzzing of every deployed parser that sees foreign bytes: `make fuzz`.

callers.py          bodies, signatures, links, credentials and queries that callers send
answers.py          what Graph, the identity endpoint and the table answer
configuration.py    app settings
output.py           names from outside, in CSV and in notices

targets.py says what a target is. tests/test_fuzz.py tries each for a moment, without atheris.
"""
