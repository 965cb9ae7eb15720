"""What every engine makes of a model; travels to the board with engines.py."""


class Prepared:
    """A loaded model with its input in place: `call()` is one inference, `output()` its (first) output, NCHW."""

    def __init__(self, call, output):
        self.call, self.output = call, output
