"""``python -m deploy.stack``: exit status 0 if it was told to stop, 1 if it could not go on."""

import sys

from deploy.stack.signals import Stop


def main() -> int:
    stop = Stop()
    stop.listen()
    try:
        from deploy.stack.start import run  # takes a second or two, in which people may think better of it

        return run(stop)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
