"""Write: concepts and their texts."""
