"""Steps of any network on any task: learner, loop, events, checkpoints."""
