"""The command line: one file a command; each parses, calls the library once and prints."""

import signal

# Until `main` can say a line about it, Ctrl-C ends the process as it ends any other program: without a traceback
# through whatever was being imported.
signal.signal(signal.SIGINT, signal.SIG_DFL)
