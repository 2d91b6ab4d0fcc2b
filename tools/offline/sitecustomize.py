"""Python imports this by itself at start where the folder is on PYTHONPATH, so that child processes are covered too."""
import loopback_only

loopback_only.block()
