"""GitHub and GitLab: commit status and plan comments."""
