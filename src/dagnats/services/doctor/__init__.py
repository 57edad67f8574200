"""Whether everything is as it should be, and putting right what is not.

``deployment`` looks at the server, ``records`` at what it keeps of the runs; ``repair`` puts
right what follows from the history.
"""
