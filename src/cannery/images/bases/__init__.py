"""What an image stands on."""
