"""From raw predictions to what a user takes away: masks in the image, pictures, submissions."""
