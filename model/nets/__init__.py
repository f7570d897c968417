"""Networks (torch): the backbones, the region proposal head and the whole tracker."""
