"""The routes, one file a resource. They say what is taken and answered; the work is done elsewhere."""
