"""Export and import of labels: MVTec layout, COCO, CSV."""
