"""What is coupled with what, as plain data that can be built by hand."""
