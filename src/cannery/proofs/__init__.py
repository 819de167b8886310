"""What a finished image shows when it is started and tried."""
