"""Programs as users of the reference write them: they import nothing but the paths that are kept for them."""
