"""``make run``: Label Studio, Redis, backend and worker on this machine's loopback, with a sample project in them.

In reading order:

``__main__``      the exit status, and with ``signals``, how it is told to stop
``start``         one start: what is missing is set up, everything started, watched and ended
``folder``        the data folder ``.run``: addresses and passwords, made once, and who uses it
``servers``       the four servers, and how each is started; ``redis_program`` is which Redis
``label_studio``  Label Studio's own virtual environment and settings
``processes``     processes that are found again even by the next start, and ended with all that they started
``sample``        the sample project: made once, half of it reviewed, then pre-labelled;
                  ``studio`` is what it asks of Label Studio's API
``console``       what people see meanwhile, and ``welcome``, what they are told in the end
"""
