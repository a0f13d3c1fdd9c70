"""Life after the first deployment: what to label next, what is near what, and learning from what a device heard."""
