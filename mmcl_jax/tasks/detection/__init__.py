"""The detection of objects: boxes, the anchors and losses of YOLOv3, and the metrics of detections."""
