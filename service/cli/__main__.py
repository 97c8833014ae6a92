"""`python -m service.cli`: the command line without its installed script."""

from service.cli import main

main()
