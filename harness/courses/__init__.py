"""Course images: the lists they stand in, the build job, and the check of a course's notebooks."""
