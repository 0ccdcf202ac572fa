"""The person beside the arm: events, hand-over, source tags and effort."""
