"""Ways to run prelabel: ``stack`` is ``make run``, everything on one machine with nothing but Python."""
