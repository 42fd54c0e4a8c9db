"""What belongs to the process as a whole: work in the background, threads, its end."""
