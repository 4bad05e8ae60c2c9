"""Export and import of labels in the formats of many tools."""
