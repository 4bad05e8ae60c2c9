"""From image files to verdicts, regions and result files."""
