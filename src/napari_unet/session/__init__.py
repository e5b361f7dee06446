"""What a viewer is used for: layers become wishes, wishes become jobs, results become layers. No Qt."""
