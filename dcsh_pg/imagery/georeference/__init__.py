"""Where on Earth pixels lie: affine transforms, ground control points, RPCs, and footprints."""
