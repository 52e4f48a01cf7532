"""State and decisions of the scheduler, without IO."""
