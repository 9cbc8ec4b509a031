"""The toy's own tests are no tests of ours: they run where it is installed, as its author's do."""

collect_ignore = ["toy"]
