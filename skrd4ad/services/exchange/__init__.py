"""Labels in and out: the MVTec layout, COCO and CSV. The way in is ``skrd4ad.services.label_exchange``."""
