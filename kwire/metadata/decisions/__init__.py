"""What commands decide: pure functions from the image to the records that change it."""
