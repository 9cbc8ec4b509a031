"""The exact gradient of every candidate at a discrete point, without their graphs."""
