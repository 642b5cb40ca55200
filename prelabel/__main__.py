"""``python -m prelabel``: see ``cli``."""

from prelabel.cli import main

main(prog_name="prelabel")
