"""What an evaluation's numbers come from: matches, errors, sizes, pictures to look at, likely faults of the annotations."""
